"""With a window, the architectures that decide a pruning cost about the limit; without a lower limit they do not."""

from __future__ import annotations

import numpy as np
import pytest

import search_spaces
from benchmarks.common.oracles import TableOracle
from benchmarks.pad_nas.budget_window import ONE_SHOT, SEARCHER, THRESHOLD, BlindOracle
from benchmarks.pad_nas.budgets import budgets
from benchmarks.pad_nas.progressive import counted_evaluations, progressive_searches

pytestmark = pytest.mark.usefixtures("shared")


@pytest.fixture(scope="module")
def truth() -> TableOracle:
    return TableOracle(search_spaces.load("nas-bench-macro"))


def test_accuracies_that_are_blind_to_cost_do_not_depend_on_it(truth: TableOracle) -> None:
    architectures = truth.architectures()
    macs = truth.costs.cost(architectures)["macs"]
    assert np.corrcoef(truth.top1(architectures), macs)[0, 1] > 0.3
    assert abs(np.corrcoef(BlindOracle(truth).top1(architectures), macs)[0, 1]) < 1e-9


@pytest.mark.parametrize("one_shot", ONE_SHOT)
def test_a_window_keeps_what_networks_near_the_limit_need(truth: TableOracle, one_shot: str) -> None:
    most = float(np.median(truth.costs.cost(truth.architectures())["macs"]))
    oracle = ONE_SHOT[one_shot](truth, 0)
    shares, sizes = {}, {}
    for name, budget in budgets(most).items():
        first, *_, last = progressive_searches(oracle, budget, SEARCHER, 3, THRESHOLD, seed=0)
        counted = counted_evaluations(first.evaluations)
        shares[name] = np.mean([each.costs["macs"] for each in counted]) / most
        sizes[name] = last.space.size()
    assert shares["window"] > 0.85 > 0.7 > shares["max alone"]
    assert sizes["window"] > sizes["max alone"]
