import itertools

import numpy as np
import pytest

import search_spaces
from benchmarks.common.oracles import NeighbourOracle, TableOracle
from search_spaces import Architecture, SearchSpace


@pytest.fixture(scope="module")
def small() -> SearchSpace:
    """576 architectures of the paper's space, with choices of one, two and three survivors."""
    space = search_spaces.load("proxylessnas")
    kept = {0: 3, 1: 2, 2: 2, 5: 3, 6: 2, 9: 2, 14: 2, 21: 2}
    return space.restrict({c.name: c.options[-kept.get(i, 1) :] for i, c in enumerate(space.choices)})


def everything(space: SearchSpace) -> list[Architecture]:
    return [space.architecture(indices) for indices in itertools.product(*space.surviving)]


def test_accuracies_are_the_sum_over_operations_and_neighbours(small: SearchSpace) -> None:
    oracle = NeighbourOracle(small, seed=0)
    architecture = everything(small)[100]
    worth = oracle.MEAN
    for choice, index in enumerate(architecture.indices):
        worth += oracle.operation[choice][index]
        if choice:
            worth += oracle.pair[choice - 1][architecture.indices[choice - 1], index]
    assert oracle.top1([architecture])[0] == pytest.approx(worth)


def test_noise_is_fixed_for_each_architecture(small: SearchSpace) -> None:
    architectures = everything(small)
    oracle = NeighbourOracle(small, seed=0, noise=2.0)
    astray = oracle.top1(architectures) - oracle.truth(architectures)
    np.testing.assert_array_equal(oracle.top1(architectures[::-1])[::-1] - oracle.truth(architectures), astray)
    np.testing.assert_array_equal(oracle.truth(architectures), NeighbourOracle(small, seed=0).top1(architectures))
    assert abs(astray.mean()) < 0.3
    assert astray.std() == pytest.approx(2.0, rel=0.1)


@pytest.mark.parametrize("seed", range(3))
def test_the_best_is_the_best_of_all(small: SearchSpace, seed: int) -> None:
    oracle = NeighbourOracle(small, seed)
    architectures = everything(small)
    assert len(architectures) == 3 * 2 * 2 * 3 * 2 * 2 * 2 * 2
    assert oracle.best() == architectures[int(oracle.top1(architectures).argmax())]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("quantile", [0.0, 0.02, 0.3, 0.7, 1.0])
def test_the_best_within_a_budget_is_the_best_of_all_within_it(small: SearchSpace, seed: int, quantile: float) -> None:
    oracle = NeighbourOracle(small, seed)
    architectures = everything(small)
    macs = oracle.costs.cost(architectures)["macs"].numpy()
    limit = float(np.quantile(macs, quantile))
    expected = architectures[int(np.where(macs <= limit, oracle.top1(architectures), -np.inf).argmax())]
    assert oracle.best_within(limit) == expected


@pytest.mark.parametrize("name", ["proxylessnas", "proxylessnas-large"])
def test_both_programmes_agree_at_full_size(name: str) -> None:
    oracle = NeighbourOracle(search_spaces.load(name), seed=1)
    assert oracle.best_within(1e12) == oracle.best()


def test_a_budget_that_nothing_meets(small: SearchSpace) -> None:
    with pytest.raises(ValueError, match="at most 1,000 multiply-adds"):
        NeighbourOracle(small, seed=0).best_within(1_000)


@pytest.mark.usefixtures("shared")
def test_the_table_answers_for_every_architecture() -> None:
    oracle = TableOracle(search_spaces.load("nas-bench-macro"))
    answers = {evaluation.architecture: evaluation for evaluation in oracle.evaluate(oracle.architectures())}
    assert len(answers) == 6561
    known = answers[oracle.space.architecture((0, 2, 0, 1, 2, 1, 0, 0))]
    assert known.top1 == pytest.approx(89.1967, abs=1e-4)
    assert known.costs == {"macs": 47_327_744, "params": 890_666}


@pytest.mark.usefixtures("shared")
def test_the_table_has_one_accuracy_a_network() -> None:
    """Its 6,561 rows are of 3,969 networks: where an identity stands changes neither accuracy nor costs."""
    oracle = TableOracle(search_spaces.load("nas-bench-macro"))
    answers = oracle.evaluate(oracle.architectures())
    networks: dict[Architecture, set[tuple[float, ...]]] = {}
    for one in answers:
        networks.setdefault(oracle.space.canonical(one.architecture), set()).add((one.top1, *one.costs.values()))
    assert len(networks) == 3969
    assert {len(figures) for figures in networks.values()} == {1}
