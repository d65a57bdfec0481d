"""Operation pruning: PAD-NAS section 3.2 and lines 4 to 7 of its algorithm 1."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from search_spaces import Architecture, SearchSpace


def operation_frequencies(
    space: SearchSpace, architectures: Sequence[Architecture], ranks: Iterable[int], below_rank: int = 10
) -> NDArray[np.float64]:
    """How often each choice takes each option among the distinct architectures whose rank is below `below_rank`.

    Returns:
        p^{i,j} of PAD-NAS algorithm 1, shape (choices, options); the row of a choice of one option sums to 1, that of a
        subset to how many options are taken on average. Rows are as long as the longest list of options, and 0 where a
        choice has no such option.

    Raises:
        ValueError: if no architecture has such a rank.
    """
    counted = {a.indices for a, rank in zip(architectures, ranks, strict=True) if rank < below_rank}
    if not counted:
        raise ValueError(f"None of the {len(architectures)} architectures has a rank below {below_rank}.")
    counts = np.zeros((len(space.choices), max(len(choice.options) for choice in space.choices)))
    for indices in counted:
        for row, choice, value in zip(counts, space.choices, indices, strict=True):
            row[list(choice.taken(value))] += 1.0
    return counts / len(counted)


def prune(space: SearchSpace, frequencies: NDArray[np.float64], threshold: float = 0.01) -> SearchSpace:
    """The space without the options whose frequency is at or below `threshold` (P_th in the paper).

    A choice's most frequent option stays, whatever its frequency; a subset without any option left keeps none.
    """
    kept = {}
    for choice, surviving, row in zip(space.choices, space.surviving, frequencies, strict=True):
        most_frequent = max(surviving, key=lambda option: row[option], default=None)
        kept[choice.name] = [
            choice.options[option] for option in surviving if row[option] > threshold or option == most_frequent
        ]
    return space.restrict(kept)
