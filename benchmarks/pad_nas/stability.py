"""PAD-NAS figure 7: how much the last layer's operation distribution varies between seeds of the search.

    python -m benchmarks.pad_nas.stability

On made landscapes over the paper's basic space, five seeds of each search at the same number of evaluations; once
with true accuracies, once with accuracies that stray from the truth as a supernet's do. Constrained NSGA-II's
distribution is PAD-NAS's: of architectures whose non-domination rank is below 10. SPOS's is taken both ways: of the 10
best that it keeps, and by the same ranks over all that it evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

import search_spaces
from benchmarks.common.oracles import NeighbourOracle, drive
from benchmarks.common.report import heading, table
from raynas.interfaces.searcher import Evaluation, Searcher
from raynas.results.pareto import non_domination_ranks
from search_spaces import Budget, SearchSpace
from tuners.pad_nas.pruning import operation_frequencies
from tuners.search_algorithms.evolution import SposEvolution
from tuners.search_algorithms.nsga2 import ConstrainedNsga2

SEEDS = range(5)
LANDSCAPES = range(3)
NOISES = (0.0, 1.0)
SPACE = "proxylessnas"
MACS = 350e6
TOP_K = 10

Counting = Callable[[SearchSpace, Sequence[Evaluation]], NDArray[np.float64]]


def by_rank(space: SearchSpace, found: Sequence[Evaluation]) -> NDArray[np.float64]:
    ranks = non_domination_ranks([e.top1 for e in found], [e.costs["macs"] for e in found])
    return operation_frequencies(space, [e.architecture for e in found], ranks)


def among_the_best(space: SearchSpace, found: Sequence[Evaluation]) -> NDArray[np.float64]:
    best = sorted(found, key=lambda evaluation: -evaluation.top1)[:TOP_K]
    return operation_frequencies(space, [e.architecture for e in best], [1] * len(best))


ESTIMATES: list[tuple[Searcher, dict[str, Counting]]] = [
    (ConstrainedNsga2(), {"NSGA-II, ranks below 10": by_rank}),
    (
        SposEvolution(population=64, generations=40, top_k=TOP_K),
        {"SPOS, the 10 kept": among_the_best, "SPOS, ranks below 10": by_rank},
    ),
]


def distributions(oracle: NeighbourOracle) -> dict[str, NDArray[np.float64]]:
    """By estimate, the operation frequencies in per cent, shape (seeds, choices, options)."""
    budget = Budget.model_validate({"macs": {"max": MACS}})
    estimated = {}
    for searcher, countings in ESTIMATES:
        runs = [drive(searcher.begin(oracle.space, oracle.costs, budget, seed), oracle) for seed in SEEDS]
        for name, count in countings.items():
            estimated[name] = 100.0 * np.stack([count(oracle.space, run) for run in runs])
    return estimated


def main() -> None:
    heading(
        "Figure 7: stability of the estimated operation distribution",
        f"searches {SEEDS.start} to {SEEDS.stop - 1}, landscapes {LANDSCAPES.start} to {LANDSCAPES.stop - 1}",
    )
    space = search_spaces.load(SPACE)
    last = space.choices[-1]
    print(f"{SPACE}, at most {MACS / 1e6:.0f} M multiply-adds, 64 x 40 evaluations a search.")
    print(f"Per operation of {last.name}: mean and standard deviation over the seeds, in per cent. `spread`: the mean")
    print("of these standard deviations, then the same over all layers. `above 1 %`: operations a layer that pruning")
    print("would keep. `noise`: the standard deviation by which accuracies stray, in points; those of random")
    print("architectures have one of about 2.6.\n")
    exists = np.array([[i < len(c.options) for i in range(7)] for c in space.choices])
    rows = []
    for noise in NOISES:
        for landscape in LANDSCAPES:
            for name, found in distributions(NeighbourOracle(space, landscape, noise)).items():
                options = found[:, -1, : len(last.options)]
                cells = [f"{m:.0f} ± {s:.0f}" for m, s in zip(options.mean(axis=0), options.std(axis=0), strict=True)]
                spreads = [f"{options.std(axis=0).mean():.1f}", f"{found.std(axis=0)[exists].mean():.1f}"]
                rows.append([noise, landscape, name, *cells, *spreads, f"{(found > 1.0).sum(axis=2).mean():.1f}"])
    columns = ["noise", "landscape", "distribution", *last.options, "spread", "all layers", "above 1 %"]
    table(columns, rows)


if __name__ == "__main__":
    main()
