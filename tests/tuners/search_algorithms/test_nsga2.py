"""Constrained NSGA-II: survivors, the second objective, and small spaces."""

from collections.abc import Sequence

import numpy as np
import pytest

import search_spaces
from raynas.interfaces.searcher import Evaluation
from raynas.results.pareto import non_domination_ranks
from search_spaces import Architecture, Budget, SearchSpace
from search_spaces.errors import UserError
from tuners.search_algorithms.nsga2 import ConstrainedNsga2


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return search_spaces.load("nas-bench-macro")


def evaluate(space: SearchSpace, architectures: Sequence[Architecture], resource: str = "macs") -> list[Evaluation]:
    costs = space.costs().cost(architectures)[resource].tolist()
    top1 = [sum((5 * choice + 3 * i) % 7 for choice, i in enumerate(a.indices)) for a in architectures]
    return [
        Evaluation(a, float(t), 100.0, 0.0, 1, {resource: cost}, 0.0)
        for a, t, cost in zip(architectures, top1, costs, strict=True)
    ]


def test_survivors_are_the_best_fronts_of_all_evaluated_architectures(space: SearchSpace) -> None:
    """No survivor is dominated by an architecture that was left out, because parents and offspring compete."""
    budget = Budget.model_validate({"macs": {"max": 1e8}})
    search = ConstrainedNsga2(population=24, generations=10).begin(space, space.costs(), budget, seed=0)
    while architectures := search.ask():
        search.tell(evaluate(space, architectures))
    state = search.state()
    ranks = non_domination_ranks(state["top1"], state["cost"])
    survivors = {tuple(genome) for genome in state["X"]}
    assert len(survivors) == 24
    front = {tuple(genome) for genome, rank in zip(state["evaluated"], ranks, strict=True) if rank == 1}
    objectives = dict(zip(map(tuple, state["evaluated"]), zip(state["top1"], state["cost"], strict=True), strict=True))
    if len(front) <= 24:
        assert {objectives[genome] for genome in front} <= {objectives[genome] for genome in survivors}
    else:
        assert survivors <= front


def test_any_cost_can_be_the_second_objective(space: SearchSpace) -> None:
    budget = Budget.model_validate({"params": {"max": 2e6}})
    search = ConstrainedNsga2(population=8, generations=3, cost="params").begin(space, space.costs(), budget, seed=0)
    while architectures := search.ask():
        search.tell(evaluate(space, architectures, "params"))
    params = space.costs().cost([space.architecture(genome) for genome in search.state()["evaluated"]])["params"]
    assert search.state()["cost"] == params.tolist()
    np.testing.assert_array_equal(np.array(search.state()["F"])[:, 1] <= 2e6, True)


def test_a_cost_without_data_is_refused(space: SearchSpace) -> None:
    searcher = ConstrainedNsga2(cost="latency_ms")
    with pytest.raises(UserError, match=r"search\.cost is 'latency_ms', but this run has the costs macs, params"):
        searcher.begin(space, space.costs(), Budget.model_validate({"macs": {"max": 1e8}}), seed=0)


def test_known_architectures_compete_again_if_drawing_dries_up(space: SearchSpace) -> None:
    """The space has 16 architectures. The search evaluates each once, and its population holds no duplicates."""
    small = space.restrict({c.name: c.options[: 2 if i < 4 else 1] for i, c in enumerate(space.choices)})
    budget = Budget.model_validate({"macs": {"max": 1e9}})
    search = ConstrainedNsga2(population=6, generations=50).begin(small, small.costs(), budget, seed=0)
    evaluated: list[Architecture] = []
    while architectures := search.ask():
        evaluated += architectures
        search.tell(evaluate(small, architectures))
        population = [tuple(genome) for genome in search.state()["X"]]
        assert len(set(population)) == len(population) == 6
    assert len(evaluated) == len(set(evaluated)) == 16
    assert search.note is not None
