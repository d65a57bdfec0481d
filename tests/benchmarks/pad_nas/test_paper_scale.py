"""PAD-NAS's searching and pruning in a space of the paper's size."""

import search_spaces
from benchmarks.common.oracles import NeighbourOracle
from benchmarks.pad_nas.budgets import budgets
from benchmarks.pad_nas.paper_scale import SEARCHES, THRESHOLD, WINDOWS
from benchmarks.pad_nas.progressive import progressive_searches
from tuners.search_algorithms.nsga2 import ConstrainedNsga2


def test_spaces_shrink_and_nothing_beats_the_computed_best() -> None:
    oracle = NeighbourOracle(search_spaces.load("proxylessnas"), seed=0)
    budget = budgets(*WINDOWS["proxylessnas"])["window"]
    least, most = budget.root["macs"].interval()
    best = oracle.top1([oracle.best_within(most, least)])[0]
    searcher = ConstrainedNsga2(population=32, generations=20)
    stages = progressive_searches(oracle, budget, searcher, SEARCHES, THRESHOLD, seed=0)
    sizes = [stage.space.size() for stage in stages]
    assert sizes[0] == 3 * 6**6 * 7**15
    assert sizes[0] > sizes[1] >= sizes[2] > 1
    for stage in stages:
        assert stage.best.top1 <= best + 1e-9
        assert all(least <= evaluation.costs["macs"] <= most for evaluation in stage.evaluations)
        assert all(evaluation.architecture in stage.space for evaluation in stage.evaluations)
