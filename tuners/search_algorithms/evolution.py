"""Single-objective evolution as SPOS searches its supernet (Guo et al., Single Path One-Shot, algorithm 1).

Only accuracy counts, and architectures outside the budget are never evaluated. PAD-NAS figure 7 compares the operation
frequencies of this search with those of NSGA-II.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from tuners.search_algorithms.feasible_space import FeasibleSpace, Genome, Genomes
from tuners.search_algorithms.generational import GenerationalSearch, GenerationalSearcher


class SposEvolution(GenerationalSearcher):
    """Evolution with SPOS's settings: 20 generations of 50 architectures; the parents are the 10 best evaluated so far.

    Half of a generation comes from uniform crossover of two parents. The other half comes from mutation of one parent,
    which draws each gene anew with `mutation_probability`. Once the parents resemble each other, crossover may find too
    few new architectures. Mutation then fills the gap. If mutation finds too few, uniform draws fill the rest.
    """

    population: int = Field(50, ge=2)
    generations: int = Field(20, ge=1)
    top_k: int = Field(10, ge=1)
    mutation_probability: float = Field(0.1, gt=0, le=1)

    def begin_in(self, feasible: FeasibleSpace, seed: int) -> GenerationalSearch:
        return _SposEvolution(self, feasible, seed)


class _SposEvolution(GenerationalSearch):
    def __init__(self, settings: SposEvolution, feasible: FeasibleSpace, seed: int) -> None:
        super().__init__(settings, feasible, seed)
        self.top_k = settings.top_k
        self.mutation_probability = settings.mutation_probability

    def create_offspring(self) -> list[Genome]:
        best = sorted(self.evaluated, key=lambda genome: -self.evaluated[genome].top1)[: self.top_k]
        parents = np.array(best, dtype=np.int64)
        half = self.population // 2
        crossed, _ = self.feasible.draw(lambda count: self._cross(parents, count), half, self.evaluated)
        known = self.evaluated.keys() | set(crossed)
        rest = self.population - len(crossed)
        mutated, _ = self.feasible.draw(lambda count: self._mutate(parents, count), rest, known)
        offspring = crossed + mutated
        return offspring + self.draw_uniform(self.population - len(offspring), exclude=offspring)

    def _cross(self, parents: Genomes, count: int) -> Genomes:
        first, second = parents[self.random.integers(len(parents), size=(2, count))]
        crossed: Genomes = np.where(self.random.random(first.shape) < 0.5, first, second)
        return crossed

    def _mutate(self, parents: Genomes, count: int) -> Genomes:
        chosen = parents[self.random.integers(len(parents), size=count)]
        is_redrawn = self.random.random(chosen.shape) < self.mutation_probability
        mutated: Genomes = np.where(is_redrawn, self.feasible.propose_uniform(count, self.random), chosen)
        return mutated
