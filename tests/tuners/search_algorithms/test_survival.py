"""Racing gives up only offspring that cannot survive the generation, whatever their final accuracies are."""

import numpy as np
import pytest
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.operators.survival.rank_and_crowding import RankAndCrowding

from raynas.results.pareto import non_domination_ranks
from tuners.search_algorithms.nsga2 import ranks_behind


def test_with_exact_accuracies_no_survivor_is_given_up() -> None:
    """The survivors are pymoo's. Architectures that only crowding leaves out are not given up."""
    generator = np.random.default_rng(0)
    cost, top1 = generator.permutation(60).astype(float), generator.normal(50, 5, 60)
    population = Population.new(X=np.arange(60)[:, None], F=np.column_stack([-top1, cost]))
    kept = RankAndCrowding().do(Problem(n_var=1, n_obj=2), population, n_survive=30, random_state=generator)
    given_up = np.flatnonzero(ranks_behind(cost, top1, top1, 30))
    assert not set(given_up) & set(kept.get("X")[:, 0])
    worst_kept = kept.get("rank").max() + 1
    assert given_up.tolist() == np.flatnonzero(non_domination_ranks(top1, cost) > worst_kept).tolist()


@pytest.mark.parametrize("distinct", [8, 1000])
def test_an_architecture_that_is_given_up_is_dominated_whatever_the_accuracies_are(distinct: int) -> None:
    generator = np.random.default_rng(1)
    count = 0
    for _ in range(10):
        cost = generator.integers(distinct, size=40).astype(float)
        middle = generator.normal(50, 10, 40)
        width = generator.uniform(0, 6, 40) * (generator.random(40) < 0.5)
        behind = ranks_behind(cost, middle - width, middle + width, 20)
        count += behind.sum()
        for _ in range(30):
            ranks = non_domination_ranks(generator.uniform(middle - width, middle + width), cost)
            assert (ranks[behind] > 1).all()
    assert count > 0


def test_an_architecture_behind_20_others_is_given_up() -> None:
    """Twenty architectures are on a front. One architecture is behind them even at its best."""
    cost = np.arange(21.0)
    accuracy = np.append(np.arange(20.0) + 50, 45.0)
    least, most = accuracy.copy(), accuracy.copy()
    least[-1], most[-1] = 40.0, 49.0
    assert np.flatnonzero(ranks_behind(cost, least, most, 20)).tolist() == [20]
    assert not ranks_behind(cost, least, most, 21).any()
    most[-1] = 70.0
    assert not ranks_behind(cost, least, most, 20).any()
