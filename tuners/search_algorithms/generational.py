"""A search by generations: each asks for architectures that meet the budget and that it has never asked for before."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pydantic import Field

from raynas.interfaces.searcher import Evaluation, Search, Searcher
from search_spaces.errors import UserError
from tuners.search_algorithms.feasible_space import FeasibleSpace, Gene

if TYPE_CHECKING:
    from search_spaces import Architecture, Budget, Costs, SearchSpace


class GenerationalSearcher(Searcher):
    """What every such search is set by.

    Attributes:
        population: the architectures that a generation evaluates.
        generations: how many there are, the first, which is drawn uniformly, among them.
        cost: what accuracy is weighed against: `macs`, `params` or, with a latency table, `latency_ms`.
    """

    population: int = Field(64, ge=2)
    generations: int = Field(40, ge=1)
    cost: str = "macs"

    def check(self, costs: Costs) -> None:
        """See that the costs hold what this search weighs.

        Raises:
            UserError: if they do not.
        """
        if self.cost not in costs.resources:
            raise UserError(
                f"The search cannot weigh {self.cost!r}, but {', '.join(costs.resources)}: set search.cost"
                + (", or give a latency table (latency.path)." if self.cost == "latency_ms" else ".")
            )

    def begin(self, space: SearchSpace, costs: Costs, budget: Budget, seed: int) -> Search:
        """As `Searcher.begin`; raises as `check`."""
        self.check(costs)
        return self.over(FeasibleSpace(space, costs, budget), seed)

    @abstractmethod
    def over(self, feasible: FeasibleSpace, seed: int) -> GenerationalSearch:
        """A search of these architectures at its beginning."""


class Objectives(NamedTuple):
    """What an architecture was found to be worth: top-1 in per cent, and the cost that it is weighed against."""

    top1: float
    cost: float


class GenerationalSearch(Search):
    """Remembers every architecture evaluated, and ends where a generation can find no new one.

    Attributes:
        generation: how many generations have been evaluated.
        known: every architecture evaluated, in the order asked.
        random: where every draw comes from.
    """

    def __init__(self, settings: GenerationalSearcher, feasible: FeasibleSpace, seed: int) -> None:
        self.population = settings.population
        self.generations = settings.generations
        self.cost = settings.cost
        self.feasible = feasible
        self.generation = 0
        self.known: dict[Gene, Objectives] = {}
        self.random = np.random.default_rng(seed)
        self._asked: list[Gene] = []

    @abstractmethod
    def children(self) -> list[Gene]:
        """The new architectures of a generation after the first."""

    def select(self, children: Sequence[Gene]) -> None:
        """Take the children, whose worth is now known, into what the next generation is drawn from."""

    def uniform(self, count: int, besides: Collection[Gene] = ()) -> list[Gene]:
        """Up to `count` new architectures, drawn uniformly."""
        return self.feasible.draw_uniform(count, self.known.keys() | set(besides), self.random)

    def ask(self) -> list[Architecture]:
        if self.generation == self.generations:
            return []
        self._asked = self.children() if self.generation else self.uniform(self.population)
        if not self._asked:
            self.note = (
                f"The search ended after {self.generation} of {self.generations} generations: "
                f"it found no architecture within the budget besides the {len(self.known)} evaluated."
            )
        return [self.feasible.architecture(gene) for gene in self._asked]

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        for gene, evaluation in zip(self._asked, evaluations, strict=True):
            self.known[gene] = Objectives(evaluation.top1, float(evaluation.costs[self.cost]))
        self.generation += 1
        self.select(self._asked)

    def state(self) -> dict[str, Any]:
        return {
            "generation": self.generation,
            "known": [list(gene) for gene in self.known],
            "top1": [worth.top1 for worth in self.known.values()],
            "cost": [worth.cost for worth in self.known.values()],
            "random": self.random.bit_generator.state,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.generation = state["generation"]
        worths = map(Objectives, state["top1"], state["cost"])
        self.known = {tuple(gene): worth for gene, worth in zip(state["known"], worths, strict=True)}
        self.random.bit_generator.state = state["random"]
