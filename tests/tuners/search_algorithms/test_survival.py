"""Nobody is given up who may be on the front, and with exact accuracies those that survival leaves out."""

import numpy as np
import pytest
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.operators.survival.rank_and_crowding import RankAndCrowding

from raynas.results.pareto import non_domination_ranks
from tuners.search_algorithms.nsga2 import lost


def test_with_exact_accuracies_nobody_who_survives_is_lost() -> None:
    """Against pymoo's own survival; those left out by crowding alone are not lost by rank."""
    generator = np.random.default_rng(0)
    cost, top1 = generator.permutation(60).astype(float), generator.normal(50, 5, 60)
    population = Population.new(X=np.arange(60)[:, None], F=np.column_stack([-top1, cost]))
    kept = RankAndCrowding().do(Problem(n_var=1, n_obj=2), population, n_survive=30, random_state=generator)
    given_up = np.flatnonzero(lost(cost, top1, top1, 30))
    assert not set(given_up) & set(kept.get("X")[:, 0])
    worst_kept = kept.get("rank").max() + 1
    assert given_up.tolist() == np.flatnonzero(non_domination_ranks(top1, cost) > worst_kept).tolist()


@pytest.mark.parametrize("distinct", [8, 1000])
def test_who_is_lost_is_dominated_whatever_the_accuracies_are(distinct: int) -> None:
    generator = np.random.default_rng(1)
    found = 0
    for _ in range(10):
        cost = generator.integers(distinct, size=40).astype(float)
        middle = generator.normal(50, 10, 40)
        width = generator.uniform(0, 6, 40) * (generator.random(40) < 0.5)
        behind = lost(cost, middle - width, middle + width, 20)
        found += behind.sum()
        for _ in range(30):
            ranks = non_domination_ranks(generator.uniform(middle - width, middle + width), cost)
            assert (ranks[behind] > 1).all()
    assert found > 0


def test_by_hand() -> None:
    """Twenty on a front, and one that at its best is behind all of them."""
    cost = np.arange(21.0)
    accuracy = np.append(np.arange(20.0) + 50, 45.0)
    least, most = accuracy.copy(), accuracy.copy()
    least[-1], most[-1] = 40.0, 49.0
    assert np.flatnonzero(lost(cost, least, most, 20)).tolist() == [20]
    assert not lost(cost, least, most, 21).any()
    most[-1] = 70.0
    assert not lost(cost, least, most, 20).any()
