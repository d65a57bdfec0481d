"""Random search: distinct architectures that meet the budget, each drawn uniformly. The baseline of every search."""

from __future__ import annotations

from tuners.search_algorithms.feasible_space import FeasibleSpace, Gene
from tuners.search_algorithms.generational import GenerationalSearch, GenerationalSearcher


class RandomSearch(GenerationalSearcher):
    """As many architectures as an evolution of as many generations evaluates."""

    def over(self, feasible: FeasibleSpace, seed: int) -> GenerationalSearch:
        return _RandomSearch(self, feasible, seed)


class _RandomSearch(GenerationalSearch):
    def children(self) -> list[Gene]:
        return self.uniform(self.population)
