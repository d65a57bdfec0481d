"""PAD-NAS's loop of searching and pruning where an oracle stands in for the supernet, so nothing is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.common.oracles import Oracle, drive
from raynas.interfaces.searcher import Evaluation, Searcher
from raynas.results.pareto import non_domination_ranks
from tuners.pad_nas.pruning import operation_frequencies, prune

if TYPE_CHECKING:
    from search_spaces import Budget, SearchSpace


@dataclass(frozen=True)
class Stage:
    """One search: the space it searched, and what it evaluated, in the order asked."""

    space: SearchSpace
    evaluations: list[Evaluation]

    @property
    def best(self) -> Evaluation:
        return max(self.evaluations, key=lambda evaluation: evaluation.top1)


def progressive_searches(
    oracle: Oracle, budget: Budget, searcher: Searcher, searches: int, threshold: float, seed: int
) -> list[Stage]:
    """The searches of PAD-NAS algorithm 1, M - 1 of them, each in the space that the one before it pruned."""
    space = oracle.space
    stages = []
    for number in range(searches):
        search = searcher.begin(space, space.costs(), budget, seed=1000 * seed + number)
        stages.append(Stage(space, drive(search, oracle)))
        space = pruned(stages[-1], threshold)
    return stages


def pruned(stage: Stage, threshold: float) -> SearchSpace:
    """The space of a stage without the operations that its best architectures hardly use."""
    found = stage.evaluations
    ranks = non_domination_ranks([e.top1 for e in found], [e.costs["macs"] for e in found])
    frequencies = operation_frequencies(stage.space, [e.architecture for e in found], ranks)
    return prune(stage.space, frequencies, threshold)
