"""Find the most probable architecture within a budget, under a distribution with factors."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from search_spaces import Budget, Costs
    from tuners.fp_nas.distribution import Factors

MAX_LISTED = 20_000
"""The number of architectures, from the most probable downwards, that are checked before the stepwise search."""
_BATCH = 2_000
_MIN_LOSS = 1e-3
"""The least loss of log-probability, so that a change without loss does not have an infinite gain."""


def find_most_probable(
    factors: Factors, logits: Tensor, costs: Costs, budget: Budget, max_listed: int = MAX_LISTED
) -> tuple[Tensor | None, bool]:
    """Find the most probable architecture within a budget.

    The result is exact if one of the `max_listed` most probable architectures meets the budget. Otherwise the search
    starts at the mode and changes one factor after another. Each time it makes the change that removes the most excess
    cost for the log-probability that it loses.

    Returns:
        Option indices, shape (choices,), or None if no architecture was found; and whether the result is exact.
    """
    log_probabilities = factors.log_probabilities(logits.detach().double())
    combinations = iterate_by_probability(log_probabilities)
    for _ in range(max_listed // _BATCH):
        batch = list(islice(combinations, _BATCH))
        if not batch:
            return None, True
        indices = factors.indices(torch.tensor(batch))
        is_feasible = budget.met(costs.total(indices.numpy()))
        if is_feasible.any():
            return indices[int(is_feasible.argmax())], True
    return _search_stepwise(factors, log_probabilities, costs, budget), False


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


def _search_stepwise(factors: Factors, log_probabilities: Tensor, costs: Costs, budget: Budget) -> Tensor | None:
    """Change one factor at a time until the budget is met, then while a change within the budget is more probable."""
    current = log_probabilities.argmax(dim=1)
    rows, options = log_probabilities.isfinite().nonzero(as_tuple=True)
    excess = budget.excess(costs.total(factors.indices(current[None]).numpy())).item()
    while True:
        neighbours = current.repeat(len(rows), 1)
        neighbours[torch.arange(len(rows)), rows] = options
        excesses = torch.from_numpy(budget.excess(costs.total(factors.indices(neighbours).numpy())))
        losses = log_probabilities[rows, current[rows]] - log_probabilities[rows, options]
        if excess > 0:
            gains = (excess - excesses) / losses.clamp(min=_MIN_LOSS)
        else:
            gains = torch.where(excesses > 0, -1.0, -losses)
        best = int(gains.argmax())
        if gains[best] <= 0:
            return factors.indices(current[None])[0] if excess == 0 else None
        current, excess = neighbours[best], float(excesses[best])
