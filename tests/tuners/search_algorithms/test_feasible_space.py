"""Drawing new architectures within a budget, as genomes."""

import numpy as np
import pytest

import search_spaces
from search_spaces import Budget, Costs, SearchSpace
from tuners.search_algorithms.feasible_space import MAX_FRUITLESS_DRAWS, FeasibleSpace, Genomes


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return search_spaces.load("nas-bench-macro").restrict({"stage1.1": ["k5e6"], "stage2.2": ["skip", "k5e6"]})


@pytest.fixture(scope="module")
def costs(space: SearchSpace) -> Costs:
    return space.costs()


@pytest.fixture
def feasible(space: SearchSpace, costs: Costs) -> FeasibleSpace:
    least, greatest = costs.bounds()["macs"]
    return FeasibleSpace(space, costs, Budget.model_validate({"macs": {"max": (least + greatest) / 2}}))


def test_genes_are_positions_among_the_survivors(feasible: FeasibleSpace) -> None:
    assert feasible.sizes.tolist() == [1, 3, 3, 2, 3, 3, 3, 3]
    assert feasible.architecture((0, 1, 2, 1, 0, 0, 0, 0)).indices == (2, 1, 2, 2, 0, 0, 0, 0)


def test_feasible_genomes_have_costs_within_the_budget(feasible: FeasibleSpace, costs: Costs) -> None:
    genomes = feasible.propose_uniform(200, np.random.default_rng(0))
    macs = costs.cost([feasible.architecture(tuple(row)) for row in genomes.tolist()])["macs"]
    least, greatest = costs.bounds()["macs"]
    expected = macs <= (least + greatest) / 2
    assert 0 < expected.sum() < 200
    assert (feasible.is_feasible(genomes) == expected).all()


def test_uniform_draws_are_uniform_over_the_survivors(feasible: FeasibleSpace) -> None:
    genomes = feasible.propose_uniform(6_000, np.random.default_rng(1))
    for choice, size in enumerate(feasible.sizes):
        np.testing.assert_allclose(np.bincount(genomes[:, choice]) / len(genomes), 1 / size, atol=0.03)


def test_drawing_stops_if_proposals_bring_nothing_new(feasible: FeasibleSpace) -> None:
    proposals: list[int] = []

    def always_the_same(count: int) -> Genomes:
        proposals.append(count)
        return np.zeros((count, 8), dtype=np.int64)

    new, repeated = feasible.draw(always_the_same, 5, known=set())
    assert new == [(0,) * 8]
    assert repeated == []
    assert MAX_FRUITLESS_DRAWS < sum(proposals) < 3 * MAX_FRUITLESS_DRAWS

    new, repeated = feasible.draw(always_the_same, 5, known={(0,) * 8})
    assert new == []
    assert repeated == [(0,) * 8]


def test_uniform_draws_exhaust_a_space(feasible: FeasibleSpace) -> None:
    """Rejection finds most of the feasible architectures, and integer programs search for the rest."""
    grid = np.stack(np.meshgrid(*map(np.arange, feasible.sizes), indexing="ij"), axis=-1).reshape(-1, 8)
    within = feasible.is_feasible(grid).sum()
    drawn = feasible.draw_uniform(10_000, set(), np.random.default_rng(2))
    assert len(set(drawn)) == len(drawn)
    assert within - 5 <= len(drawn) <= within
