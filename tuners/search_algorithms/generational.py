"""The base of searches by generations. No architecture is evaluated twice, and all of them meet the budget."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pydantic import Field

from raynas.interfaces.searcher import Evaluation, Search, Searcher
from search_spaces.errors import UserError, format_count
from tuners.search_algorithms.feasible_space import FeasibleSpace, Genome

if TYPE_CHECKING:
    from search_spaces import Architecture, Budget, Costs, SearchSpace


class GenerationalSearcher(Searcher):
    """The settings that all searches by generations share.

    Attributes:
        population: the number of architectures that a generation evaluates.
        generations: the number of generations, counted with the first, which is drawn uniformly.
        cost: the cost that is weighed against accuracy: `macs`, `params` or, with a latency table, `latency_ms`.
    """

    population: int = Field(64, ge=2)
    generations: int = Field(40, ge=1)
    cost: str = "macs"

    def check(self, costs: Costs) -> None:
        """Raise UserError if the costs do not hold the resource that this search weighs."""
        if self.cost not in costs.resources:
            raise UserError(
                f"search.cost is {self.cost!r}, but this run has the costs {', '.join(costs.resources)}: change it"
                + (", or give a latency table (latency.path)." if self.cost == "latency_ms" else ".")
            )

    def begin(self, space: SearchSpace, costs: Costs, budget: Budget, seed: int) -> Search:
        self.check(costs)
        return self.begin_in(FeasibleSpace(space, costs, budget), seed)

    @abstractmethod
    def begin_in(self, feasible: FeasibleSpace, seed: int) -> GenerationalSearch:
        """Return a search of the feasible architectures at its beginning."""


class Objectives(NamedTuple):
    """The objectives of an evaluated architecture: top-1 in per cent, and the cost that is weighed against it."""

    top1: float
    cost: float


class GenerationalSearch(Search):
    """A search that remembers every evaluated architecture, and ends if a generation finds no new architecture.

    Attributes:
        generation: the number of generations that have been evaluated.
        evaluated: the objectives of all evaluated architectures, in the order of evaluation.
        random: the generator of all draws.
    """

    def __init__(self, settings: GenerationalSearcher, feasible: FeasibleSpace, seed: int) -> None:
        self.population = settings.population
        self.generations = settings.generations
        self.cost = settings.cost
        self.feasible = feasible
        self.generation = 0
        self.evaluated: dict[Genome, Objectives] = {}
        self.random = np.random.default_rng(seed)
        self._offspring: list[Genome] = []

    @abstractmethod
    def create_offspring(self) -> list[Genome]:
        """Return the new architectures of a generation after the first."""

    def select_survivors(self, offspring: Sequence[Genome]) -> None:
        """Let evaluated offspring compete for the places among the parents of the next generation."""

    def draw_uniform(self, count: int, exclude: Collection[Genome] = ()) -> list[Genome]:
        """Return up to `count` new architectures, drawn uniformly."""
        return self.feasible.draw_uniform(count, self.evaluated.keys() | set(exclude), self.random)

    def ask(self) -> list[Architecture]:
        if self.generation == self.generations:
            return []
        self._offspring = self.create_offspring() if self.generation else self.draw_uniform(self.population)
        if not self._offspring:
            self.note = (
                f"The search ended after {self.generation} of {format_count(self.generations, 'generation')}: "
                f"it found no architecture within the budget besides the {len(self.evaluated)} evaluated."
            )
        return [self.feasible.architecture(genome) for genome in self._offspring]

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        for genome, evaluation in zip(self._offspring, evaluations, strict=True):
            self.evaluated[genome] = Objectives(evaluation.top1, float(evaluation.costs[self.cost]))
        self.generation += 1
        self.select_survivors(self._offspring)

    def state(self) -> dict[str, Any]:
        return {
            "generation": self.generation,
            "evaluated": [list(genome) for genome in self.evaluated],
            "top1": [objectives.top1 for objectives in self.evaluated.values()],
            "cost": [objectives.cost for objectives in self.evaluated.values()],
            "random": self.random.bit_generator.state,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.generation = state["generation"]
        objectives = map(Objectives, state["top1"], state["cost"])
        self.evaluated = dict(zip(map(tuple, state["evaluated"]), objectives, strict=True))
        self.random.bit_generator.state = state["random"]
