"""The results of the searches on the table of true accuracies."""

import numpy as np
import pytest

from benchmarks.pad_nas.nas_bench_macro_oracle import SEEDS, Truth, searchers, shares
from benchmarks.pad_nas.progressive import progressive_searches, prune_space

pytestmark = pytest.mark.usefixtures("shared")


@pytest.fixture(scope="module", params=["window", "max alone"])
def truth(request: pytest.FixtureRequest) -> Truth:
    return Truth.read(request.param)


def test_half_of_the_architectures_cost_at_most_the_upper_limit() -> None:
    window, limit = Truth.read("window"), Truth.read("max alone")
    assert len(limit.feasible) / 6561 == pytest.approx(0.5, abs=0.001)
    assert limit.share(limit.feasible) == 100.0
    costs = [evaluation.costs["macs"] for evaluation in window.feasible]
    assert 6 / 7 * window.median <= min(costs) < max(costs) <= window.median == limit.median


def test_nsga2_covers_the_front_and_is_above_random(truth: Truth) -> None:
    covered = {name: np.median(shares(truth, searcher), axis=0) for name, searcher in searchers(20).items()}
    assert covered["constrained NSGA-II"][-1] >= 99.5
    assert (covered["constrained NSGA-II"] > covered["random"]).all()


@pytest.mark.parametrize("name", list(searchers(20)))
def test_every_evaluation_is_feasible(truth: Truth, name: str) -> None:
    feasible = {evaluation.architecture for evaluation in truth.feasible}
    for seed in SEEDS[:3]:
        evaluated = [evaluation.architecture for evaluation in truth.search(searchers(20)[name], seed)]
        assert len(set(evaluated)) == len(evaluated) == 400
        assert set(evaluated) <= feasible


@pytest.mark.parametrize("threshold", [0.01, 0.05, 0.10])
def test_pruning_keeps_the_best_within_the_budget(truth: Truth, threshold: float) -> None:
    searcher = searchers(20)["constrained NSGA-II"]
    for seed in SEEDS:
        stages = progressive_searches(truth.oracle, truth.budget, searcher, 2, threshold, seed)
        assert truth.best.architecture in prune_space(stages[-1], threshold)
        assert truth.best.top1 - stages[-1].best.top1 < 0.05
