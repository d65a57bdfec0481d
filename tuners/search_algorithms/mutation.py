"""Polynomial mutation (Deb and Goyal) of a gene that is a position in a list, as exact probabilities.

The operator moves a real number within its bounds; on a list the result is rounded to a position. With the usual
eta = 20 nearly every move is shorter than half a position, so that nothing changes. PAD-NAS prints no eta. Here a move
that rounds to the old position is drawn again. This equals a draw from the probabilities of the other positions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tuners.search_algorithms.feasible_space import Genomes


def mutation_probabilities(options: int, eta: float) -> NDArray[np.float64]:
    """Return the probabilities that mutation and rounding move a position to another, shape (options, options)."""
    last = options - 1
    edges = np.arange(0.5, last)
    return np.array(
        [
            np.diff(_cumulative_probability(edges, position, last, eta), prepend=0.0, append=1.0)
            for position in range(options)
        ]
    )


def _cumulative_probability(target: NDArray[np.float64], position: int, last: int, eta: float) -> NDArray[np.float64]:
    """Return the probability that a gene at `position` in [0, last] mutates to a real number of at most `target`."""
    power = eta + 1.0
    step = (target - position) / last
    to_first, to_last = position / last, 1.0 - position / last
    nearness_first, nearness_last = (1.0 - to_first) ** power, (1.0 - to_last) ** power
    with np.errstate(divide="ignore", invalid="ignore"):
        below = ((1.0 + step) ** power - nearness_first) / (2.0 * (1.0 - nearness_first))
        above = (2.0 - nearness_last - (1.0 - step) ** power) / (2.0 * (1.0 - nearness_last))
    cumulative: NDArray[np.float64] = np.where(step < 0, below, above)
    return cumulative


class PolynomialMutation:
    """Mutates each gene with a probability. A chosen gene always changes, unless its choice has one survivor.

    Args:
        sizes: the number of surviving values of each choice, shape (choices,).
        eta: the distribution index: the greater, the shorter the moves.
        probability: the probability that a gene is chosen.
    """

    def __init__(self, sizes: NDArray[np.int64], eta: float, probability: float) -> None:
        self.probability = probability
        self.sizes = sizes
        widest = int(sizes.max())
        self._cumulative = np.ones((len(sizes), widest, widest))
        for choice, size in enumerate(sizes.tolist()):
            if size > 1:
                others = mutation_probabilities(size, eta)
                np.fill_diagonal(others, 0.0)
                cumulative = np.cumsum(others, axis=1) / others.sum(axis=1, keepdims=True)
                cumulative[cumulative > 1.0 - 1e-12] = 1.0
                self._cumulative[choice, :size, :size] = cumulative

    def __call__(self, genomes: Genomes, generator: np.random.Generator) -> Genomes:
        """Return mutated copies of the genomes."""
        is_chosen = (generator.random(genomes.shape) < self.probability) & (self.sizes > 1)
        rows, choices = np.nonzero(is_chosen)
        cumulative = self._cumulative[choices, genomes[rows, choices]]
        mutated = genomes.copy()
        mutated[rows, choices] = (generator.random((len(rows), 1)) >= cumulative).sum(axis=1)
        return mutated
