"""Random search: distinct architectures within the budget, each drawn uniformly. It is the baseline of every search."""

from __future__ import annotations

from tuners.search_algorithms.feasible_space import FeasibleSpace, Genome
from tuners.search_algorithms.generational import GenerationalSearch, GenerationalSearcher


class RandomSearch(GenerationalSearcher):
    """Evaluates as many architectures as an evolution with equal `population` and `generations`."""

    def begin_in(self, feasible: FeasibleSpace, seed: int) -> GenerationalSearch:
        return _RandomSearch(self, feasible, seed)


class _RandomSearch(GenerationalSearch):
    def create_offspring(self) -> list[Genome]:
        return self.draw_uniform(self.population)
