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


def answers(space: SearchSpace, asked: Sequence[Architecture], resource: str = "macs") -> list[Evaluation]:
    costs = space.costs().cost(asked)[resource].tolist()
    top1 = [sum((5 * choice + 3 * i) % 7 for choice, i in enumerate(a.indices)) for a in asked]
    return [
        Evaluation(a, float(t), 100.0, 0.0, 1, {resource: cost}, 0.0)
        for a, t, cost in zip(asked, top1, costs, strict=True)
    ]


def test_a_population_holds_the_best_fronts_of_all_seen(space: SearchSpace) -> None:
    """Parents and children compete, so no survivor is dominated by anything that was evaluated and left out."""
    budget = Budget.model_validate({"macs": {"max": 1e8}})
    search = ConstrainedNsga2(population=24, generations=10).begin(space, space.costs(), budget, seed=0)
    while asked := search.ask():
        search.tell(answers(space, asked))
    state = search.state()
    ranks = non_domination_ranks(state["top1"], state["cost"])
    survivors = {tuple(gene) for gene in state["X"]}
    assert len(survivors) == 24
    front = {tuple(gene) for gene, rank in zip(state["known"], ranks, strict=True) if rank == 1}
    objectives = dict(zip(map(tuple, state["known"]), zip(state["top1"], state["cost"], strict=True), strict=True))
    if len(front) <= 24:
        assert {objectives[gene] for gene in front} <= {objectives[gene] for gene in survivors}
    else:
        assert survivors <= front


def test_any_cost_can_be_the_second_objective(space: SearchSpace) -> None:
    budget = Budget.model_validate({"params": {"max": 2e6}})
    search = ConstrainedNsga2(population=8, generations=3, cost="params").begin(space, space.costs(), budget, seed=0)
    while asked := search.ask():
        search.tell(answers(space, asked, "params"))
    params = space.costs().cost([space.architecture(gene) for gene in search.state()["known"]])["params"]
    assert search.state()["cost"] == params.tolist()
    np.testing.assert_array_equal(np.array(search.state()["F"])[:, 1] <= 2e6, True)


def test_a_cost_that_the_run_does_not_have_is_refused(space: SearchSpace) -> None:
    searcher = ConstrainedNsga2(cost="latency_ms")
    with pytest.raises(UserError, match="cannot weigh 'latency_ms', but macs, params"):
        searcher.begin(space, space.costs(), Budget.model_validate({"macs": {"max": 1e8}}), seed=0)


def test_known_architectures_compete_again_where_drawing_dries_up(space: SearchSpace) -> None:
    """In a space of 16 of which all are found, a search never asks twice and its population never holds doubles."""
    small = space.restrict({c.name: c.options[: 2 if i < 4 else 1] for i, c in enumerate(space.choices)})
    budget = Budget.model_validate({"macs": {"max": 1e9}})
    search = ConstrainedNsga2(population=6, generations=50).begin(small, small.costs(), budget, seed=0)
    asked_for: list[Architecture] = []
    while asked := search.ask():
        asked_for += asked
        search.tell(answers(small, asked))
        population = [tuple(gene) for gene in search.state()["X"]]
        assert len(set(population)) == len(population) == 6
    assert len(asked_for) == len(set(asked_for)) == 16
    assert search.note is not None
