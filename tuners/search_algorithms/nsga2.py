"""Constrained evolutionary search: NSGA-II (Deb et al.) as PAD-NAS section 3.2 uses it.

The two objectives are accuracy and one cost. Offspring outside the budget are discarded and drawn again. Evaluated
architectures are never discarded, only sorted. Selection, crossover and survival are pymoo's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from raynas.results.pareto import non_domination_ranks
from tuners.search_algorithms.feasible_space import FeasibleSpace, Genome, Genomes
from tuners.search_algorithms.generational import GenerationalSearch, GenerationalSearcher
from tuners.search_algorithms.mutation import PolynomialMutation

if TYPE_CHECKING:
    from raynas.interfaces.searcher import Evaluation


class ConstrainedNsga2(GenerationalSearcher):
    """NSGA-II with PAD-NAS's settings: 40 generations of 64, two-point crossover, polynomial mutation.

    Attributes:
        mutation_eta: the distribution index of the mutation; the paper prints none.
        mutation_probability: the probability that a gene mutates. If null, one over the number of choices.
    """

    mutation_eta: float = Field(3.0, gt=0)
    mutation_probability: float | None = Field(None, gt=0, le=1)

    def begin_in(self, feasible: FeasibleSpace, seed: int) -> GenerationalSearch:
        return _ConstrainedNsga2(self, feasible, seed)


class _ConstrainedNsga2(GenerationalSearch):
    def __init__(self, settings: ConstrainedNsga2, feasible: FeasibleSpace, seed: int) -> None:
        # pymoo takes half a second to import; a recipe's check needs only the settings.
        from pymoo.algorithms.moo.nsga2 import binary_tournament
        from pymoo.core.population import Population
        from pymoo.core.problem import Problem
        from pymoo.operators.crossover.pntx import TwoPointCrossover
        from pymoo.operators.selection.tournament import TournamentSelection
        from pymoo.operators.survival.rank_and_crowding import RankAndCrowding

        super().__init__(settings, feasible, seed)
        self.new_population = Population.new
        choices = len(feasible.sizes)
        self.parents = self.new_population()
        self.reproposed: list[Genome] = []
        self.mutation = PolynomialMutation(
            feasible.sizes, settings.mutation_eta, settings.mutation_probability or 1 / choices
        )
        self.crossover = TwoPointCrossover()
        self.selection = TournamentSelection(func_comp=binary_tournament)
        self.survival = RankAndCrowding()
        self.problem = Problem(n_var=choices, n_obj=2)
        self.tournament = SimpleNamespace(tournament_type="comp_by_dom_and_crowding", random_state=self.random)

    def create_offspring(self) -> list[Genome]:
        """Return new offspring. Where drawing dries up, known architectures among the proposals compete again."""
        new, repeated = self.feasible.draw(self._mate, self.population, self.evaluated)
        self.reproposed = repeated[: self.population - len(new)]
        return new

    def _mate(self, count: int) -> Genomes:
        pairs = self.selection.do(
            self.problem,
            self.parents,
            math.ceil(count / 2),
            2,
            to_pop=False,
            algorithm=self.tournament,
            random_state=self.random,
        )
        crossed = self.crossover.do(self.problem, self.parents, pairs, random_state=self.random)
        return self.mutation(crossed.get("X")[:count], self.random)

    def _competitors(self) -> list[Genome]:
        """Return the evaluated architectures that compete with the offspring: the parents, and known proposals."""
        return list(dict.fromkeys([*map(tuple, self.parents.get("X").tolist()), *self.reproposed]))

    def select_survivors(self, offspring: Sequence[Genome]) -> None:
        """Keep the best of parents and offspring, by rank and then by crowding distance."""
        candidates = list(dict.fromkeys([*self._competitors(), *offspring]))
        objectives = np.array([self.evaluated[genome] for genome in candidates])
        merged = self.new_population(X=np.array(candidates), F=objectives * [-1.0, 1.0])
        self.parents = self.survival.do(self.problem, merged, n_survive=self.population, random_state=self.random)

    def cannot_survive(self, evaluations: Sequence[Evaluation], least: Floats, most: Floats) -> NDArray[np.bool_]:
        """Return which offspring rank, even at their best, behind as many architectures as survive."""
        competitors = [self.evaluated[genome] for genome in self._competitors() if genome in self.evaluated]
        top1 = np.array([objectives.top1 for objectives in competitors])
        costs = [
            *(objectives.cost for objectives in competitors),
            *(evaluation.costs[self.cost] for evaluation in evaluations),
        ]
        lowest, highest = (np.concatenate([top1, bound]) for bound in (least, most))
        return ranks_behind(np.array(costs, dtype=float), lowest, highest, self.population)[len(competitors) :]

    def state(self) -> dict[str, Any]:
        crowding = [None if math.isinf(distance) else float(distance) for distance in self.parents.get("crowding")]
        return {
            **super().state(),
            "X": self.parents.get("X").tolist(),
            "F": self.parents.get("F").tolist(),
            "rank": self.parents.get("rank").tolist(),
            "crowding": crowding,
        }

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.parents = self.new_population(
            X=np.array(state["X"]),
            F=np.array(state["F"]),
            rank=np.array(state["rank"]),
            crowding=np.array([math.inf if distance is None else distance for distance in state["crowding"]]),
        )


Floats = NDArray[np.float64]


def ranks_behind(cost: Floats, least: Floats, most: Floats, survivors: int) -> NDArray[np.bool_]:
    """Return which architectures rank behind at least `survivors` others even at their best, shape (n,).

    Args:
        cost: the exact cost that is weighed against accuracy, shape (n,).
        least, most: the bounds of each accuracy, shape (n,) each.
    """
    behind = np.zeros(len(cost), dtype=np.bool_)
    for place in range(len(cost)):
        accuracy = least.copy()
        accuracy[place] = most[place]
        ranks = non_domination_ranks(accuracy, cost)
        behind[place] = np.count_nonzero(ranks < ranks[place]) >= survivors
    return behind
