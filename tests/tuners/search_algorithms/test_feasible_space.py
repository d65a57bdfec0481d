import numpy as np
import pytest

import search_spaces
from search_spaces import Budget, Costs, SearchSpace
from tuners.search_algorithms.feasible_space import PATIENCE, FeasibleSpace, Genes


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


def test_what_meets_the_budget_is_what_costs_say(feasible: FeasibleSpace, costs: Costs) -> None:
    genes = feasible.uniform(200, np.random.default_rng(0))
    macs = costs.cost([feasible.architecture(tuple(row)) for row in genes.tolist()])["macs"].numpy()
    least, greatest = costs.bounds()["macs"]
    expected = macs <= (least + greatest) / 2
    assert 0 < expected.sum() < 200
    assert (feasible.meets(genes) == expected).all()


def test_uniform_draws_are_uniform_over_the_survivors(feasible: FeasibleSpace) -> None:
    genes = feasible.uniform(6_000, np.random.default_rng(1))
    for choice, size in enumerate(feasible.sizes):
        np.testing.assert_allclose(np.bincount(genes[:, choice]) / len(genes), 1 / size, atol=0.03)


def test_drawing_stops_once_it_brings_nothing_new(feasible: FeasibleSpace) -> None:
    proposals: list[int] = []

    def always_the_same(count: int) -> Genes:
        proposals.append(count)
        return np.zeros((count, 8), dtype=np.int64)

    new, repeated = feasible.draw(always_the_same, 5, known=set())
    assert new == [(0,) * 8]
    assert repeated == []
    assert PATIENCE < sum(proposals) < 3 * PATIENCE

    new, repeated = feasible.draw(always_the_same, 5, known={(0,) * 8})
    assert new == []
    assert repeated == [(0,) * 8]


def test_a_space_is_drawn_empty(feasible: FeasibleSpace) -> None:
    """Rejection finds most of what meets the budget, and the integer programme looks for the rest."""
    grid = np.stack(np.meshgrid(*map(np.arange, feasible.sizes), indexing="ij"), axis=-1).reshape(-1, 8)
    within = feasible.meets(grid).sum()
    drawn = feasible.draw_uniform(10_000, set(), np.random.default_rng(2))
    assert len(set(drawn)) == len(drawn)
    assert within - 5 <= len(drawn) <= within
