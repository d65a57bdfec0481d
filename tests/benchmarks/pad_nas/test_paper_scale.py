"""PAD-NAS's searching and pruning in a space of the paper's size."""

import search_spaces
from benchmarks.common.oracles import NeighbourOracle
from benchmarks.pad_nas.paper_scale import MACS, SEARCHES, THRESHOLD
from benchmarks.pad_nas.progressive import progressive_searches
from search_spaces import Budget
from tuners.search_algorithms.nsga2 import ConstrainedNsga2


def test_spaces_shrink_and_nothing_beats_the_computed_best() -> None:
    oracle = NeighbourOracle(search_spaces.load("proxylessnas"), seed=0)
    macs = MACS["proxylessnas"]
    best = oracle.top1([oracle.best_within(macs)])[0]
    searcher = ConstrainedNsga2(population=32, generations=20)
    stages = progressive_searches(
        oracle, Budget.model_validate({"macs": {"max": macs}}), searcher, SEARCHES, THRESHOLD, seed=0
    )
    sizes = [stage.space.size() for stage in stages]
    assert sizes[0] == 3 * 6**6 * 7**15
    assert sizes[0] > sizes[1] >= sizes[2] > 1
    for stage in stages:
        assert stage.best.top1 <= best + 1e-9
        assert all(evaluation.costs["macs"] <= macs for evaluation in stage.evaluations)
        assert all(evaluation.architecture in stage.space for evaluation in stage.evaluations)
