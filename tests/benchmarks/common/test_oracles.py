"""The oracles in this process: their accuracies, their best architectures, and the public table."""

import itertools

import numpy as np
import pytest

import search_spaces
from benchmarks.common.oracles import NeighbourOracle, TableOracle
from search_spaces import Architecture, SearchSpace


@pytest.fixture(scope="module")
def small() -> SearchSpace:
    """Return 576 architectures of the paper's space, with choices of one, two and three surviving options."""
    space = search_spaces.load("proxylessnas")
    surviving = {0: 3, 1: 2, 2: 2, 5: 3, 6: 2, 9: 2, 14: 2, 21: 2}
    return space.restrict({c.name: c.options[-surviving.get(i, 1) :] for i, c in enumerate(space.choices)})


def all_architectures(space: SearchSpace) -> list[Architecture]:
    return [space.architecture(indices) for indices in itertools.product(*space.surviving)]


def test_an_accuracy_is_the_sum_over_operations_and_pairs_of_neighbours(small: SearchSpace) -> None:
    oracle = NeighbourOracle(small, seed=0)
    architecture = all_architectures(small)[100]
    expected = oracle.MEAN
    for choice, index in enumerate(architecture.indices):
        expected += oracle.operation[choice][index]
        if choice:
            expected += oracle.pair[choice - 1][architecture.indices[choice - 1], index]
    assert oracle.top1([architecture])[0] == pytest.approx(expected)


def test_noise_is_fixed_for_each_architecture(small: SearchSpace) -> None:
    architectures = all_architectures(small)
    oracle = NeighbourOracle(small, seed=0, noise=2.0)
    deviations = oracle.top1(architectures) - oracle.truth(architectures)
    np.testing.assert_array_equal(oracle.top1(architectures[::-1])[::-1] - oracle.truth(architectures), deviations)
    np.testing.assert_array_equal(oracle.truth(architectures), NeighbourOracle(small, seed=0).top1(architectures))
    assert abs(deviations.mean()) < 0.3
    assert deviations.std() == pytest.approx(2.0, rel=0.1)


@pytest.mark.parametrize("seed", range(3))
def test_the_best_architecture_is_the_best_of_all(small: SearchSpace, seed: int) -> None:
    oracle = NeighbourOracle(small, seed)
    architectures = all_architectures(small)
    assert len(architectures) == 3 * 2 * 2 * 3 * 2 * 2 * 2 * 2
    assert oracle.best() == architectures[int(oracle.top1(architectures).argmax())]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("quantile", [0.0, 0.02, 0.3, 0.7, 1.0])
def test_the_best_feasible_architecture_is_the_best_of_all_feasible_ones(
    small: SearchSpace, seed: int, quantile: float
) -> None:
    oracle = NeighbourOracle(small, seed)
    architectures = all_architectures(small)
    macs = oracle.costs.cost(architectures)["macs"]
    limit = float(np.quantile(macs, quantile))
    expected = architectures[int(np.where(macs <= limit, oracle.top1(architectures), -np.inf).argmax())]
    assert oracle.best_within(limit) == expected
    window = (0.9 * limit <= macs) & (macs <= limit)
    if window.any():
        expected = architectures[int(np.where(window, oracle.top1(architectures), -np.inf).argmax())]
        assert oracle.best_within(limit, 0.9 * limit) == expected


@pytest.mark.parametrize("name", ["proxylessnas", "proxylessnas-large"])
def test_both_algorithms_agree_at_full_size(name: str) -> None:
    oracle = NeighbourOracle(search_spaces.load(name), seed=1)
    assert oracle.best_within(1e12) == oracle.best()


def test_a_budget_without_a_feasible_architecture_is_an_error(small: SearchSpace) -> None:
    with pytest.raises(ValueError, match="costs 0 to 1,000 multiply-adds"):
        NeighbourOracle(small, seed=0).best_within(1_000)


@pytest.mark.usefixtures("shared")
def test_the_table_has_every_architecture() -> None:
    oracle = TableOracle(search_spaces.load("nas-bench-macro"))
    evaluations = {evaluation.architecture: evaluation for evaluation in oracle.evaluate(oracle.architectures())}
    assert len(evaluations) == 6561
    known = evaluations[oracle.space.architecture((0, 2, 0, 1, 2, 1, 0, 0))]
    assert known.top1 == pytest.approx(89.1967, abs=1e-4)
    assert known.costs == {"macs": 47_327_744, "params": 890_666}


@pytest.mark.usefixtures("shared")
def test_isomorphic_architectures_have_one_accuracy() -> None:
    """The 6,561 rows have 3,969 networks: the place of an identity changes neither accuracy nor costs."""
    oracle = TableOracle(search_spaces.load("nas-bench-macro"))
    evaluations = oracle.evaluate(oracle.architectures())
    networks: dict[Architecture, set[tuple[float, ...]]] = {}
    for evaluation in evaluations:
        figures = (evaluation.top1, *evaluation.costs.values())
        networks.setdefault(oracle.space.canonical(evaluation.architecture), set()).add(figures)
    assert len(networks) == 3969
    assert {len(distinct) for distinct in networks.values()} == {1}
