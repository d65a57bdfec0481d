"""The most probable architecture of a distribution with factors, within a budget."""

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


LISTED = 20_000
"""Architectures that are looked at from the most probable one down, before one is sought from the mode by steps."""


_AT_ONCE = 2_000


_LEAST_LOSS = 1e-3
"""Of log-probability, so that a change that loses none is not worth infinitely much."""


def most_probable_of_factors(
    factors: Factors, logits: Tensor, costs: Costs, budget: Budget, listed: int = LISTED
) -> tuple[Tensor | None, bool]:
    """Option indices, shape (choices,), and whether nothing more probable meets the budget; None if nothing is found.

    Exact where one of the `listed` most probable architectures meets it. Else one factor after another is changed,
    beginning with the mode, by what brings the costs nearest for the probability that is lost.
    """
    log_probabilities = factors.log_probabilities(logits.detach().double())
    in_turn = in_order(log_probabilities)
    for _ in range(listed // _AT_ONCE):
        some = list(islice(in_turn, _AT_ONCE))
        if not some:
            return None, True
        indices = factors.indices(torch.tensor(some))
        met = budget.met(costs.total(indices))
        if met.any():
            return indices[met.int().argmax()], True
    return _stepwise(factors, log_probabilities, costs, budget), False


def in_order(log_probabilities: Tensor) -> Iterator[list[int]]:
    """All combinations of one row each, the most probable first, shape (rows, options) given; -inf is passed over.

    Each is reached from the one that differs by the row changed last: lists of the rows' options by probability, and a
    heap of those that come next.
    """
    order = log_probabilities.argsort(dim=1, descending=True, stable=True)
    ranked = log_probabilities.gather(1, order)
    lost = (ranked[:, :1] - ranked).tolist()
    names = order.tolist()
    heap: list[tuple[float, int, tuple[int, ...]]] = [(0.0, 0, (0,) * len(names))]
    while heap:
        loss, last, ranks = heapq.heappop(heap)
        yield [row[rank] for row, rank in zip(names, ranks, strict=True)]
        for row in range(last, len(names)):
            rank = ranks[row] + 1
            if rank < len(lost[row]) and lost[row][rank] < float("inf"):
                more = loss - lost[row][rank - 1] + lost[row][rank]
                heapq.heappush(heap, (more, row, (*ranks[:row], rank, *ranks[row + 1 :])))


def _stepwise(factors: Factors, log_probabilities: Tensor, costs: Costs, budget: Budget) -> Tensor | None:
    """Change one factor at a time until the budget is met, then while that makes it more probable within the budget."""
    taken = log_probabilities.argmax(dim=1)
    rows, options = log_probabilities.isfinite().nonzero(as_tuple=True)
    excess = float(budget.excess(costs.total(factors.indices(taken[None]))))
    while True:
        changed = taken.repeat(len(rows), 1)
        changed[torch.arange(len(rows)), rows] = options
        there = budget.excess(costs.total(factors.indices(changed)))
        lost = log_probabilities[rows, taken[rows]] - log_probabilities[rows, options]
        gain = (excess - there) / lost.clamp(min=_LEAST_LOSS) if excess > 0 else torch.where(there > 0, -1.0, -lost)
        best = int(gain.argmax())
        if gain[best] <= 0:
            return factors.indices(taken[None])[0] if excess == 0 else None
        taken, excess = changed[best], float(there[best])
