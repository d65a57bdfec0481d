"""Drawing architectures that meet a budget and have not been seen: what every sampling search here rests on.

Architectures are drawn as genes: one number a choice, the position in the list of what it can still be. A pruned choice
so has fewer genes to draw from, and a choice with one survivor none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

if TYPE_CHECKING:
    from search_spaces import Architecture, Budget, Costs, SearchSpace

Gene = tuple[int, ...]
"""One architecture: a position a choice."""

Genes = NDArray[np.int64]
"""Many architectures, shape (architectures, choices)."""

PATIENCE = 1000
"""Draws in a row without a new feasible architecture after which drawing stops."""

EXAMPLES = 20
"""Integer programmes in a row without a new architecture after which solving them stops."""


class FeasibleSpace:
    """A space, what its architectures cost, and the budget, for genes.

    Attributes:
        sizes: how many values each choice can have, shape (choices,).
    """

    def __init__(self, space: SearchSpace, costs: Costs, budget: Budget) -> None:
        self.space = space
        self.costs = costs
        self.budget = budget
        self._values = space.values()
        self.sizes = np.array([len(values) for values in self._values])
        self._options = np.zeros((len(self.sizes), self.sizes.max()), dtype=np.int64)
        for choice, options in enumerate(self._values):
            self._options[choice, : len(options)] = options

    def architecture(self, gene: Gene) -> Architecture:
        return self.space.architecture([int(row[position]) for row, position in zip(self._options, gene, strict=True)])

    def meets(self, genes: Genes) -> NDArray[np.bool_]:
        """Which of these meet the budget, shape (architectures,)."""
        options = self._options[np.arange(len(self.sizes)), genes]
        met: NDArray[np.bool_] = self.budget.met(self.costs.total(torch.from_numpy(options))).numpy()
        return met

    def uniform(self, count: int, generator: np.random.Generator) -> Genes:
        """Architectures with every choice uniform over its survivors, whatever they cost."""
        return generator.integers(0, self.sizes, size=(count, len(self.sizes)))

    def draw(
        self, propose: Callable[[int], Genes], count: int, known: Container[Gene]
    ) -> tuple[list[Gene], list[Gene]]:
        """Up to `count` distinct new architectures that meet the budget, and the known ones met on the way.

        Proposals are drawn until there are enough, or until `PATIENCE` of them in a row have brought nothing new.
        """
        new: dict[Gene, None] = {}
        repeated: dict[Gene, None] = {}
        drawn = fruitless = 0
        while len(new) < count and fruitless < PATIENCE:
            still_needed = math.ceil((count - len(new)) * (drawn + 1) / (len(new) + 1))
            genes = propose(min(still_needed, PATIENCE))
            drawn += len(genes)
            fruitless += len(genes)
            proposed = dict.fromkeys(map(tuple, genes.tolist()))
            unseen = [gene for gene in proposed if gene not in known and gene not in new]
            repeated.update((gene, None) for gene in proposed if gene in known)
            met = self.meets(np.array(unseen)) if unseen else ()
            found = [gene for gene, meets in zip(unseen, met, strict=True) if meets][: count - len(new)]
            new.update(dict.fromkeys(found))
            if found:
                fruitless = 0
        return list(new), list(repeated)

    def draw_uniform(self, count: int, known: Container[Gene], generator: np.random.Generator) -> list[Gene]:
        """Up to `count` distinct new architectures that meet the budget, uniform among those that do.

        Where rejection finds no more, integer programmes with random objectives do; fewer than `count` come back where
        these, too, answer with what is known.
        """
        new, _ = self.draw(lambda number: self.uniform(number, generator), count, known)
        found = dict.fromkeys(new)
        fruitless = 0
        while len(found) < count and fruitless < EXAMPLES:
            example = self.budget.example(self.space, self.costs, generator)
            if example is None:
                break
            gene = self._gene(example)
            fruitless = fruitless + 1 if gene in known or gene in found else 0
            if not fruitless:
                found[gene] = None
        return list(found)

    def _gene(self, architecture: Architecture) -> Gene:
        return tuple(options.index(index) for options, index in zip(self._values, architecture.indices, strict=True))
