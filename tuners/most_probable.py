"""Find the most probable architecture within a budget.

`most_probable_within` is exact. It needs a cost table, and choices that are drawn on their own. `find_most_probable`
takes any costs and any factors, and says whether its result is exact.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from search_spaces.budget.integer_program import find_architecture
from search_spaces.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from raynas.study.study import Study
    from search_spaces import Architecture, Budget, Costs, SearchSpace

_MIN_LOG_PROBABILITY = -1e3
"""The least log-probability of an option, because the integer program needs finite numbers."""
MAX_LISTED = 20_000
"""The number of architectures, from the most probable downwards, that are checked before the stepwise search."""
_BATCH = 2_000
_MIN_LOSS = 1e-3
"""The least loss of log-probability, so that a change without loss does not have an infinite gain."""


def most_probable_within(space: SearchSpace, costs: Costs, budget: Budget, theta: Tensor) -> Architecture:
    """Return the most probable architecture within a budget: exactly, by an integer program.

    If the most probable options of all choices meet the budget together, they are the result.

    Args:
        theta: the logits, shape (choices, most options of a choice).

    Raises:
        UserError: if no architecture of the space meets the budget, or the costs are no table.
    """
    import torch  # takes a second to import; methods that name this function are also only described

    table = replace(costs.as_table(), surviving=space.surviving)
    log_probability = torch.log_softmax(theta.double().masked_fill(~torch.from_numpy(table.kept), -torch.inf), dim=-1)
    loss = -log_probability.clamp(min=_MIN_LOG_PROBABILITY).numpy()
    indices = find_architecture(
        table, {name: limit.interval() for name, limit in budget.root.items()}, loss, grouped=False
    )
    if indices is None:
        raise UserError(f"No architecture of the surviving part of {space.name} meets the budget: widen the budget.")
    return space.architecture(indices)


def choose_within_budget(
    study: Study, log_probabilities: Tensor, indices_of: Callable[[Tensor], Tensor]
) -> tuple[Architecture, str]:
    """Return a run's most probable architecture within its budget, and a sentence about it.

    If the search of `find_most_probable` finds none, the architecture is an example within the budget.

    Args:
        log_probabilities, indices_of: as of `find_most_probable`.
    """
    indices, is_exact = find_most_probable(log_probabilities, indices_of, study.costs, study.budget)
    if indices is not None:
        architecture = study.space.architecture(indices.tolist())
    else:
        example = study.budget.example(study.space, study.costs, np.random.default_rng(study.recipe.seed))
        assert example is not None, "the budget was met by an architecture before the search began"
        architecture = example
    mode = indices_of(log_probabilities.argmax(dim=1)[None])[0]
    if architecture == study.space.architecture(mode.tolist()):
        return architecture, "the most probable architecture meets the budget"
    if is_exact:
        choice = "the most probable one within it"
    else:
        choice = "a probable one within it, found by changing one factor at a time"
    return architecture, f"the most probable architecture does not meet the budget: the run takes {choice}"


def find_most_probable(
    log_probabilities: Tensor,
    indices_of: Callable[[Tensor], Tensor],
    costs: Costs,
    budget: Budget,
    max_listed: int = MAX_LISTED,
) -> tuple[Tensor | None, bool]:
    """Find the most probable architecture within a budget, under a distribution of independent factors.

    The result is exact if one of the `max_listed` most probable architectures meets the budget. Otherwise the search
    starts at the mode and changes one factor after another. Each time it makes the change that removes the most excess
    cost for the log-probability that it loses.

    Args:
        log_probabilities: of each factor's combinations, float64 of shape (factors, combinations), -inf beyond.
        indices_of: returns the option indices, shape (architectures, choices), of combinations, shape (architectures,
            factors).

    Returns:
        Option indices, shape (choices,), or None if no architecture was found; and whether the result is exact.
    """
    import torch  # takes a second to import; methods that name this function are also only described

    combinations = iterate_by_probability(log_probabilities)
    for _ in range(max_listed // _BATCH):
        batch = list(islice(combinations, _BATCH))
        if not batch:
            return None, True
        indices = indices_of(torch.tensor(batch))
        is_feasible = budget.met(costs.total(indices.numpy()))
        if is_feasible.any():
            return indices[int(is_feasible.argmax())], True
    return _search_stepwise(log_probabilities, indices_of, costs, budget), False


def iterate_by_probability(log_probabilities: Tensor) -> Iterator[list[int]]:
    """Yield all combinations of one option for each row, the most probable first; options of -inf are left out.

    Each row's options are sorted by probability. A heap holds the next candidates. Every combination has one
    predecessor: the combination whose last changed row has the next more probable option.

    Args:
        log_probabilities: shape (rows, options).
    """
    order = log_probabilities.argsort(dim=1, descending=True, stable=True)
    ranked = log_probabilities.gather(1, order)
    losses = (ranked[:, :1] - ranked).tolist()
    options = order.tolist()
    heap: list[tuple[float, int, tuple[int, ...]]] = [(0.0, 0, (0,) * len(options))]
    while heap:
        loss, last_row, ranks = heapq.heappop(heap)
        yield [row[rank] for row, rank in zip(options, ranks, strict=True)]
        for row in range(last_row, len(options)):
            rank = ranks[row] + 1
            if rank < len(losses[row]) and losses[row][rank] < float("inf"):
                next_loss = loss - losses[row][rank - 1] + losses[row][rank]
                heapq.heappush(heap, (next_loss, row, (*ranks[:row], rank, *ranks[row + 1 :])))


def _search_stepwise(
    log_probabilities: Tensor, indices_of: Callable[[Tensor], Tensor], costs: Costs, budget: Budget
) -> Tensor | None:
    """Change one factor at a time until the budget is met, then while a change within the budget is more probable."""
    import torch

    current = log_probabilities.argmax(dim=1)
    rows, options = log_probabilities.isfinite().nonzero(as_tuple=True)
    excess = budget.excess(costs.total(indices_of(current[None]).numpy())).item()
    while True:
        neighbours = current.repeat(len(rows), 1)
        neighbours[torch.arange(len(rows)), rows] = options
        excesses = torch.from_numpy(budget.excess(costs.total(indices_of(neighbours).numpy())))
        losses = log_probabilities[rows, current[rows]] - log_probabilities[rows, options]
        if excess > 0:
            gains = (excess - excesses) / losses.clamp(min=_MIN_LOSS)
        else:
            gains = torch.where(excesses > 0, -1.0, -losses)
        best = int(gains.argmax())
        if gains[best] <= 0:
            return indices_of(current[None])[0] if excess == 0 else None
        current, excess = neighbours[best], float(excesses[best])
