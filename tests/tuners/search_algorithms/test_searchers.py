"""Properties that NSGA-II, SPOS's evolution and random search share."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import search_spaces
from raynas.interfaces.searcher import Evaluation, Search, Searcher
from search_spaces import Architecture, Budget, Costs, SearchSpace
from tuners.search_algorithms.evolution import SposEvolution
from tuners.search_algorithms.nsga2 import ConstrainedNsga2
from tuners.search_algorithms.random_search import RandomSearch

SEARCHERS = [
    ConstrainedNsga2(population=16, generations=12),
    SposEvolution(population=16, generations=12, top_k=5),
    RandomSearch(population=16, generations=12),
]
every_searcher = pytest.mark.parametrize("searcher", SEARCHERS, ids=lambda searcher: type(searcher).__name__)


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return search_spaces.load("proxylessnas")


@pytest.fixture(scope="module")
def costs(space: SearchSpace) -> Costs:
    return space.costs()


@pytest.fixture(scope="module")
def budget() -> Budget:
    return Budget.model_validate({"macs": {"max": 4e8}})


def evaluate(costs: Costs, architectures: Sequence[Architecture]) -> list[Evaluation]:
    """Return artificial accuracies, to which each option of each choice adds a fixed amount."""
    macs = costs.cost(architectures)["macs"].tolist()
    return [
        Evaluation(
            architecture=architecture,
            top1=50.0 + sum(float(np.sin(7 * choice + 3 * i)) for choice, i in enumerate(architecture.indices)),
            top5=100.0,
            loss=0.0,
            images=1,
            costs={"macs": cost},
            seconds=0.0,
        )
        for architecture, cost in zip(architectures, macs, strict=True)
    ]


def run_search(search: Search, costs: Costs, generations: int = 1000) -> list[list[Architecture]]:
    """Run a search for some generations, and return the architectures of each."""
    evaluated: list[list[Architecture]] = []
    while len(evaluated) < generations and (architectures := search.ask()):
        search.tell(evaluate(costs, architectures))
        evaluated.append(architectures)
    return evaluated


def through_json(state: dict[str, Any]) -> dict[str, Any]:
    state = json.loads(json.dumps(state, allow_nan=False))
    assert isinstance(state, dict)
    return state


@every_searcher
def test_a_search_evaluates_distinct_architectures_within_the_budget(
    searcher: Searcher, space: SearchSpace, costs: Costs, budget: Budget
) -> None:
    search = searcher.begin(space, costs, budget, seed=0)
    generations = run_search(search, costs)
    architectures = [architecture for generation in generations for architecture in generation]
    assert [len(generation) for generation in generations] == [16] * 12
    assert search.generations == 12
    assert len(set(architectures)) == len(architectures)
    assert all(architecture in space for architecture in architectures)
    assert budget.met(costs.cost(architectures)).all()
    assert search.note is None


@every_searcher
@pytest.mark.parametrize("interrupted", [1, 2, 5, 11])
def test_a_restored_search_continues_with_equal_draws(
    searcher: Searcher, interrupted: int, space: SearchSpace, costs: Costs, budget: Budget
) -> None:
    uninterrupted = run_search(searcher.begin(space, costs, budget, seed=3), costs)
    first = searcher.begin(space, costs, budget, seed=3)
    before = run_search(first, costs, generations=interrupted)
    second = searcher.begin(space, costs, budget, seed=99)
    second.restore(through_json(first.state()))
    assert before + run_search(second, costs) == uninterrupted


@every_searcher
def test_a_restored_state_equals_the_written_state(
    searcher: Searcher, space: SearchSpace, costs: Costs, budget: Budget
) -> None:
    search = searcher.begin(space, costs, budget, seed=4)
    run_search(search, costs, generations=3)
    written = through_json(search.state())
    other = searcher.begin(space, costs, budget, seed=5)
    other.restore(written)
    assert through_json(other.state()) == written


@every_searcher
def test_draws_depend_on_the_seed_alone(searcher: Searcher, space: SearchSpace, costs: Costs, budget: Budget) -> None:
    np.random.seed(1)
    architectures = run_search(searcher.begin(space, costs, budget, seed=6), costs)
    np.random.seed(2)
    before = np.random.get_state(legacy=False)
    assert run_search(searcher.begin(space, costs, budget, seed=6), costs) == architectures
    np.testing.assert_equal(np.random.get_state(legacy=False), before)
    assert run_search(searcher.begin(space, costs, budget, seed=7), costs) != architectures


@every_searcher
def test_a_search_ends_with_a_note_if_no_new_architecture_is_left(
    searcher: Searcher, space: SearchSpace, costs: Costs
) -> None:
    small = space.restrict({c.name: c.options[: 2 if i in (3, 9, 15) else 1] for i, c in enumerate(space.choices)})
    limit = sorted(evaluation.costs["macs"] for evaluation in evaluate(costs, all_architectures(small)))[5]
    budget = Budget.model_validate({"macs": {"max": limit}})
    search = (
        type(searcher)
        .model_validate({**searcher.model_dump(), "population": 4})
        .begin(small, small.costs(), budget, seed=0)
    )
    generations = run_search(search, costs)
    architectures = [architecture for generation in generations for architecture in generation]
    within = {a.architecture for a in evaluate(costs, all_architectures(small)) if a.costs["macs"] <= limit}
    assert len(architectures) == len(set(architectures)) == 6
    assert set(architectures) == within
    assert search.note is not None
    assert f"after {len(generations)} of 12 generations" in search.note
    assert search.ask() == []


def all_architectures(space: SearchSpace) -> list[Architecture]:
    grid = np.stack(np.meshgrid(*space.surviving, indexing="ij"), axis=-1).reshape(-1, len(space.choices))
    return [space.architecture(row) for row in grid.tolist()]


@every_searcher
def test_integer_programs_fill_a_first_generation_if_rejection_cannot(
    searcher: Searcher, space: SearchSpace, costs: Costs
) -> None:
    least, _ = costs.bounds()["macs"]
    budget = Budget.model_validate({"macs": {"max": 1.1 * least}})
    search = searcher.begin(space, costs, budget, seed=0)
    architectures = search.ask()
    assert len(set(architectures)) == 16
    assert budget.met(costs.cost(architectures)).all()
    search.tell(evaluate(costs, architectures))
    assert budget.met(costs.cost(search.ask())).all()
