"""Operation pruning: lines 4 to 7 of PAD-NAS's algorithm 1, described in section 3.2."""

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
    """Return how often each choice takes each option, among distinct architectures with a rank below `below_rank`.

    Returns:
        p^{i,j} of algorithm 1, shape (choices, most options of a choice), with 0 beyond a choice's options. The row of
        a choice of one option has the sum 1. The row of a subset has as sum the mean number of options taken.

    Raises:
        ValueError: if no architecture has such a rank.
    """
    counted = {a.indices for a, rank in zip(architectures, ranks, strict=True) if rank < below_rank}
    if not counted:
        raise ValueError(f"No architecture of {len(architectures)} has a rank below {below_rank}.")
    counts = np.zeros((len(space.choices), max(len(choice.options) for choice in space.choices)))
    for indices in counted:
        for row, choice, value in zip(counts, space.choices, indices, strict=True):
            row[list(choice.taken(value))] += 1.0
    return counts / len(counted)


def prune(space: SearchSpace, frequencies: NDArray[np.float64], threshold: float = 0.01) -> SearchSpace:
    """Return the space without the options whose frequency is at most `threshold` (P_th in the paper).

    A choice's most frequent option always stays. A subset that has lost all its options before stays empty.
    """
    kept = {}
    for choice, surviving, row in zip(space.choices, space.surviving, frequencies, strict=True):
        most_frequent = max(surviving, key=lambda option: row[option], default=None)
        kept[choice.name] = [
            choice.options[option] for option in surviving if row[option] > threshold or option == most_frequent
        ]
    return space.restrict(kept)
