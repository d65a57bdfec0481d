"""How much does the last layer's operation distribution vary between seeds of the search (PAD-NAS figure 7)?

    python -m benchmarks.pad_nas.stability

The landscapes are artificial, over the paper's basic space. Each search runs with five seeds and the same number of
evaluations: with true accuracies or with accuracies that deviate from the truth as a supernet's do, in a window of
multiply-adds (equation 2) or below its upper limit alone.

- Constrained NSGA-II has PAD-NAS's distribution: of architectures with a non-domination rank below 10.
- SPOS has two distributions: of the 10 best architectures, which it keeps; and by the same ranks over all evaluations.

Prints a table with a row for each budget, noise, landscape and distribution.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

import search_spaces
from benchmarks.common.arguments import command_parser
from benchmarks.common.oracles import NeighbourOracle, run_search
from benchmarks.common.report import print_heading, print_table
from benchmarks.pad_nas.budgets import LEAST_SHARE, budgets
from benchmarks.pad_nas.progressive import frequencies_by_rank
from raynas.interfaces.searcher import Evaluation, Searcher
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

Distribution = Callable[[SearchSpace, Sequence[Evaluation]], NDArray[np.float64]]


def frequencies_of_best(space: SearchSpace, evaluations: Sequence[Evaluation]) -> NDArray[np.float64]:
    """Return the operation frequencies of the most accurate architectures."""
    best = sorted(evaluations, key=lambda evaluation: -evaluation.top1)[:TOP_K]
    return operation_frequencies(space, [evaluation.architecture for evaluation in best], [1] * len(best))


ESTIMATES: list[tuple[Searcher, dict[str, Distribution]]] = [
    (ConstrainedNsga2(), {"NSGA-II, ranks below 10": frequencies_by_rank}),
    (
        SposEvolution(population=64, generations=40, top_k=TOP_K),
        {"SPOS, the 10 kept": frequencies_of_best, "SPOS, ranks below 10": frequencies_by_rank},
    ),
]


def distributions(oracle: NeighbourOracle, budget: Budget) -> dict[str, NDArray[np.float64]]:
    """Return for each distribution its operation frequencies in per cent, shape (seeds, choices, options)."""
    frequencies = {}
    for searcher, of_searcher in ESTIMATES:
        runs = [run_search(searcher.begin(oracle.space, oracle.costs, budget, seed), oracle) for seed in SEEDS]
        for name, distribution in of_searcher.items():
            frequencies[name] = 100.0 * np.stack([distribution(oracle.space, run) for run in runs])
    return frequencies


def main() -> None:
    command_parser("pad_nas.stability", __doc__).parse_args()
    print_heading(
        "Figure 7: stability of the estimated operation distribution",
        f"searches {SEEDS.start} to {SEEDS.stop - 1}, landscapes {LANDSCAPES.start} to {LANDSCAPES.stop - 1}",
    )
    space = search_spaces.load(SPACE)
    last = space.choices[-1]
    window = f"{LEAST_SHARE * MACS / 1e6:.0f} to {MACS / 1e6:.0f} M multiply-adds"
    print(f"{SPACE}, window of {window}, 64 x 40 evaluations for each search.")
    print(f"For each operation of {last.name}: mean and standard deviation over the seeds, in per cent.\n")
    print("- `noise`: standard deviation of the noise, in points; that of random architectures is about 2.6")
    print("- `spread`: mean of the standard deviations in this layer; `all layers`: in all layers")
    print("- `above 1 %`: mean number of operations in a layer that pruning would keep\n")
    exists = np.array([[option < len(choice.options) for option in range(7)] for choice in space.choices])
    rows = []
    for (kind, budget), noise, landscape in itertools.product(budgets(MACS).items(), NOISES, LANDSCAPES):
        for name, frequencies in distributions(NeighbourOracle(space, landscape, noise), budget).items():
            options = frequencies[:, -1, : len(last.options)]
            cells = [f"{m:.0f} ± {s:.0f}" for m, s in zip(options.mean(axis=0), options.std(axis=0), strict=True)]
            spreads = [f"{options.std(axis=0).mean():.1f}", f"{frequencies.std(axis=0)[exists].mean():.1f}"]
            kept = f"{(frequencies > 1.0).sum(axis=2).mean():.1f}"
            rows.append([kind, noise, landscape, name, *cells, *spreads, kept])
    columns = ["budget", "noise", "landscape", "distribution", *last.options, "spread", "all layers", "above 1 %"]
    print_table(columns, rows)


if __name__ == "__main__":
    main()
