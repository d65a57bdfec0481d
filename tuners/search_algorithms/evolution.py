"""Single-objective evolution as SPOS searches its supernet (Guo et al., Single Path One-Shot, algorithm 1).

Only accuracy counts; the budget is a wall. Its operation frequencies are what PAD-NAS figure 7 sets NSGA-II's against.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from tuners.search_algorithms.feasible_space import FeasibleSpace, Gene, Genes
from tuners.search_algorithms.generational import GenerationalSearch, GenerationalSearcher


class SposEvolution(GenerationalSearcher):
    """SPOS's settings: 50 architectures a generation, 20 generations, drawn from the 10 best of all seen.

    Half of a generation comes from uniform crossover of two of the best, half from mutation of one of them, in which
    each gene is drawn anew with `mutation_probability`. What crossover cannot find once the best resemble each other,
    mutation does, and what neither can is drawn uniformly.
    """

    population: int = Field(50, ge=2)
    generations: int = Field(20, ge=1)
    top_k: int = Field(10, ge=1)
    mutation_probability: float = Field(0.1, gt=0, le=1)

    def over(self, feasible: FeasibleSpace, seed: int) -> GenerationalSearch:
        return _SposEvolution(self, feasible, seed)


class _SposEvolution(GenerationalSearch):
    def __init__(self, settings: SposEvolution, feasible: FeasibleSpace, seed: int) -> None:
        super().__init__(settings, feasible, seed)
        self.top_k = settings.top_k
        self.mutation_probability = settings.mutation_probability

    def children(self) -> list[Gene]:
        best = sorted(self.known, key=lambda gene: -self.known[gene].top1)[: self.top_k]
        parents = np.array(best, dtype=np.int64)
        half = self.population // 2
        crossed, _ = self.feasible.draw(lambda count: self._cross(parents, count), half, self.known)
        known = self.known.keys() | set(crossed)
        rest = self.population - len(crossed)
        mutated, _ = self.feasible.draw(lambda count: self._mutate(parents, count), rest, known)
        children = crossed + mutated
        return children + self.uniform(self.population - len(children), besides=children)

    def _cross(self, parents: Genes, count: int) -> Genes:
        first, second = parents[self.random.integers(len(parents), size=(2, count))]
        crossed: Genes = np.where(self.random.random(first.shape) < 0.5, first, second)
        return crossed

    def _mutate(self, parents: Genes, count: int) -> Genes:
        drawn = parents[self.random.integers(len(parents), size=count)]
        redrawn = self.random.random(drawn.shape) < self.mutation_probability
        mutated: Genes = np.where(redrawn, self.feasible.uniform(count, self.random), drawn)
        return mutated
