"""Operation pruning: PAD-NAS section 3.2 and lines 4 to 7 of its algorithm 1."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

if TYPE_CHECKING:
    from search_spaces import Architecture, SearchSpace


def non_domination_ranks(top1: ArrayLike, cost: ArrayLike) -> NDArray[np.int64]:
    """The non-domination rank of each architecture; the Pareto front's is 1.

    One architecture dominates another that is no better in accuracy and cost, and worse in one of them.

    Args:
        top1: accuracies, shape (n,).
        cost: what the accuracy is paid with, shape (n,).
    """
    objectives = np.column_stack([-np.asarray(top1, dtype=float), np.asarray(cost, dtype=float)])
    _, ranks = NonDominatedSorting().do(objectives, return_rank=True)
    return np.asarray(ranks, dtype=np.int64) + 1


def operation_frequencies(
    space: SearchSpace, architectures: Sequence[Architecture], ranks: Iterable[int], below_rank: int = 10
) -> NDArray[np.float64]:
    """How often each choice takes each option among the distinct architectures whose rank is below `below_rank`.

    Returns:
        p^{i,j} of PAD-NAS algorithm 1, shape (choices, options); each choice's row sums to 1. Rows are as long as the
        longest list of options, and 0 where a choice has no such option.

    Raises:
        ValueError: if no architecture has such a rank.
    """
    counted = {a.indices for a, rank in zip(architectures, ranks, strict=True) if rank < below_rank}
    if not counted:
        raise ValueError(f"None of the {len(architectures)} architectures has a rank below {below_rank}.")
    counts = np.zeros((len(space.choices), max(len(choice.options) for choice in space.choices)))
    np.add.at(counts, (np.arange(len(space.choices)), np.array(list(counted))), 1.0)
    return counts / len(counted)


def prune(space: SearchSpace, frequencies: NDArray[np.float64], threshold: float = 0.01) -> SearchSpace:
    """The space without the options whose frequency is at or below `threshold` (P_th in the paper).

    A choice's most frequent option stays, whatever its frequency.
    """
    kept = {}
    for choice, surviving, row in zip(space.choices, space.surviving, frequencies, strict=True):
        most_frequent = max(surviving, key=lambda option: row[option])
        kept[choice.name] = [
            choice.options[option] for option in surviving if row[option] > threshold or option == most_frequent
        ]
    return space.restrict(kept)
