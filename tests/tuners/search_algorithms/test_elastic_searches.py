"""Searches of a space whose costs are no table stay within the budget, however few architectures it allows."""

import numpy as np
import pytest

import search_spaces
from raynas.interfaces.searcher import Evaluation
from search_spaces import Budget, LatencyTable
from tuners.search_algorithms.generational import GenerationalSearcher
from tuners.search_algorithms.nsga2 import ConstrainedNsga2
from tuners.search_algorithms.random_search import RandomSearch


@pytest.mark.parametrize("searcher", [RandomSearch, ConstrainedNsga2])
@pytest.mark.parametrize("resource", ["macs", "latency_ms"])
@pytest.mark.parametrize("share", [0.3, 0.02])
def test_generations_are_feasible_and_full(searcher: type[GenerationalSearcher], resource: str, share: float) -> None:
    space = search_spaces.load("fbnetv2-f", width=0.25, resolution=32)
    table = LatencyTable({key: key.kernel * key.expansion + 1 for key in space.latency_blocks()}, "The table")
    costs = space.costs(latency=table)
    least, greatest = costs.bounds()[resource]
    budget = Budget.model_validate({resource: {"max": least + share * (greatest - least)}})
    budget.check(costs)
    search = searcher(population=8, generations=3, cost=resource).begin(space, costs, budget, seed=0)
    generator = np.random.default_rng(1)
    seen = set()
    for _ in range(3):
        architectures = search.ask()
        cost = costs.cost(architectures)
        assert len(architectures) == 8
        assert budget.met(cost).all()
        seen |= set(architectures)
        costs_of = [{resource: amount} for amount in cost[resource].tolist()]
        search.tell(
            [
                Evaluation(architecture, top1, top1, 0.0, 1, cost_of_one, 0.0, True)
                for architecture, top1, cost_of_one in zip(
                    architectures, generator.random(8).tolist(), costs_of, strict=True
                )
            ]
        )
    assert len(seen) == 24
