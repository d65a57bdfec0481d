"""Who has no chance to survive a generation of NSGA-II while accuracies are known within bounds only.

Survival goes by non-domination rank. An architecture is given its greatest accuracy and every other its least: if so
many others have a better rank even then, it is not kept. It is surely dominated, and so missed by no front.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from raynas.results.outcome import non_domination_ranks

Floats = NDArray[np.float64]


def lost(cost: Floats, least: Floats, most: Floats, survivors: int) -> NDArray[np.bool_]:
    """Which architectures are behind at least `survivors` others; shape (n,).

    Args:
        cost: what accuracy is weighed against, exactly; shape (n,).
        least, most: the bounds of each accuracy, shape (n,) each.
    """
    behind = np.zeros(len(cost), dtype=np.bool_)
    for place in range(len(cost)):
        accuracy = least.copy()
        accuracy[place] = most[place]
        ranks = non_domination_ranks(accuracy, cost)
        behind[place] = np.count_nonzero(ranks < ranks[place]) >= survivors
    return behind
