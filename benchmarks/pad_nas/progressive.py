"""PAD-NAS's loop of searching and pruning with an oracle instead of a supernet, so without training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchmarks.common.oracles import KnownOracle, run_search
from raynas.interfaces.searcher import Evaluation, Searcher
from raynas.results.pareto import non_domination_ranks
from tuners.pad_nas.pruning import operation_frequencies, prune

if TYPE_CHECKING:
    from search_spaces import Budget, SearchSpace


@dataclass(frozen=True)
class ProgressiveSearch:
    """One search: its space, and its evaluations in order."""

    space: SearchSpace
    evaluations: list[Evaluation]

    @property
    def best(self) -> Evaluation:
        return max(self.evaluations, key=lambda evaluation: evaluation.top1)


def progressive_searches(
    oracle: KnownOracle, budget: Budget, searcher: Searcher, searches: int, threshold: float, seed: int
) -> list[ProgressiveSearch]:
    """Run the M - 1 searches of PAD-NAS's algorithm 1, each in the pruned space of the search before."""
    space = oracle.space
    stages = []
    for number in range(searches):
        search = searcher.begin(space, space.costs(), budget, seed=1000 * seed + number)
        stages.append(ProgressiveSearch(space, run_search(search, oracle)))
        space = prune_space(stages[-1], threshold)
    return stages


def prune_space(stage: ProgressiveSearch, threshold: float) -> SearchSpace:
    """Return the space of a stage without the operations that its best architectures hardly use."""
    return prune(stage.space, frequencies_by_rank(stage.space, stage.evaluations), threshold)


def frequencies_by_rank(space: SearchSpace, evaluations: Sequence[Evaluation]) -> NDArray[np.float64]:
    """Return PAD-NAS's operation frequencies: among the architectures of a low non-domination rank."""
    return operation_frequencies(space, [evaluation.architecture for evaluation in evaluations], _ranks(evaluations))


def counted_evaluations(evaluations: Sequence[Evaluation], below_rank: int = 10) -> list[Evaluation]:
    """Return the evaluations whose architectures `frequencies_by_rank` counts."""
    return [each for each, rank in zip(evaluations, _ranks(evaluations), strict=True) if rank < below_rank]


def _ranks(evaluations: Sequence[Evaluation]) -> NDArray[np.int64]:
    accuracies, macs = zip(*((evaluation.top1, evaluation.costs["macs"]) for evaluation in evaluations), strict=True)
    return non_domination_ranks(accuracies, macs)
