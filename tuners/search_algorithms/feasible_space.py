"""Draw new architectures within a budget: the base of every search algorithm of this package.

An architecture is drawn as a genome with one gene for each choice. A gene is a position in the list of the choice's
surviving values. So a pruned choice has fewer genes to draw from, and a choice with one survivor has a fixed gene.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from search_spaces import Architecture, Budget, Costs, SearchSpace

Genome = tuple[int, ...]
"""One architecture: one gene for each choice."""

Genomes = NDArray[np.int64]
"""Many architectures, shape (architectures, choices)."""

MAX_FRUITLESS_DRAWS = 1000
"""Drawing stops after this many proposals in a row without a new feasible architecture."""

MAX_FRUITLESS_PROGRAMS = 20
"""Solving integer programs stops after this many programs in a row without a new architecture."""


class FeasibleSpace:
    """A search space with its costs and its budget, for genomes.

    Attributes:
        sizes: the number of values of each choice, shape (choices,).
    """

    def __init__(self, space: SearchSpace, costs: Costs, budget: Budget) -> None:
        self.space = space
        self.costs = costs
        self.budget = budget
        self._values = space.values()
        self.sizes = np.array([len(values) for values in self._values])
        self._padded_values = np.zeros((len(self.sizes), self.sizes.max()), dtype=np.int64)
        for choice, values in enumerate(self._values):
            self._padded_values[choice, : len(values)] = values

    def architecture(self, genome: Genome) -> Architecture:
        """Return the architecture of a genome."""
        genes = zip(self._padded_values, genome, strict=True)
        return self.space.architecture([int(values[gene]) for values, gene in genes])

    def is_feasible(self, genomes: Genomes) -> NDArray[np.bool_]:
        """Return which genomes meet the budget, shape (architectures,)."""
        indices = self._padded_values[np.arange(len(self.sizes)), genomes]
        return self.budget.met(self.costs.total(indices))

    def propose_uniform(self, count: int, generator: np.random.Generator) -> Genomes:
        """Return genomes with every gene uniform over the choice's survivors, without regard to the budget."""
        return generator.integers(0, self.sizes, size=(count, len(self.sizes)))

    def draw(
        self, propose: Callable[[int], Genomes], count: int, known: Container[Genome]
    ) -> tuple[list[Genome], list[Genome]]:
        """Return up to `count` distinct new architectures within the budget, and known proposals.

        Proposals are drawn until there are enough new architectures, or until `MAX_FRUITLESS_DRAWS` proposals in a row
        have brought no new architecture.

        Args:
            propose: returns a number of genomes, which is its argument.
            known: architectures that do not count as new.
        """
        new: dict[Genome, None] = {}
        repeated: dict[Genome, None] = {}
        drawn = fruitless = 0
        while len(new) < count and fruitless < MAX_FRUITLESS_DRAWS:
            still_needed = math.ceil((count - len(new)) * (drawn + 1) / (len(new) + 1))
            genomes = propose(min(still_needed, MAX_FRUITLESS_DRAWS))
            drawn += len(genomes)
            fruitless += len(genomes)
            proposed = dict.fromkeys(map(tuple, genomes.tolist()))
            unseen = [genome for genome in proposed if genome not in known and genome not in new]
            repeated.update((genome, None) for genome in proposed if genome in known)
            feasible = self.is_feasible(np.array(unseen)) if unseen else ()
            accepted = [genome for genome, meets in zip(unseen, feasible, strict=True) if meets][: count - len(new)]
            new.update(dict.fromkeys(accepted))
            if accepted:
                fruitless = 0
        return list(new), list(repeated)

    def draw_uniform(self, count: int, known: Container[Genome], generator: np.random.Generator) -> list[Genome]:
        """Return up to `count` distinct new architectures within the budget, uniform among all of these.

        Where rejection finds no more architectures, integer programs with random objectives search for the rest. The
        list is shorter than `count` if the programs, too, return only known architectures.
        """
        accepted, _ = self.draw(lambda number: self.propose_uniform(number, generator), count, known)
        new = dict.fromkeys(accepted)
        fruitless = 0
        while len(new) < count and fruitless < MAX_FRUITLESS_PROGRAMS:
            example = self.budget.example(self.space, self.costs, generator)
            if example is None:
                break
            genome = self._genome(example)
            fruitless = fruitless + 1 if genome in known or genome in new else 0
            if not fruitless:
                new[genome] = None
        return list(new)

    def _genome(self, architecture: Architecture) -> Genome:
        return tuple(values.index(index) for values, index in zip(self._values, architecture.indices, strict=True))
