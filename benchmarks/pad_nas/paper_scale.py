"""What do PAD-NAS's searching and pruning do at the size of the paper's spaces? The best architecture is known.

    python -m benchmarks.pad_nas.paper_scale

The landscape is artificial: a fixed random amount for each operation and each pair of neighbouring operations. So the
best architecture under the budget can be computed. M is 4: search, prune, search, prune, search.

The budget is a window (equation 2), or its upper limit alone.

Prints a table with a row for each space, budget and seed.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import search_spaces
from benchmarks.common.arguments import command_parser
from benchmarks.common.oracles import NeighbourOracle, run_search
from benchmarks.common.report import print_heading, print_table
from benchmarks.pad_nas.budgets import budgets
from benchmarks.pad_nas.progressive import ProgressiveSearch, progressive_searches
from raynas.interfaces.searcher import Evaluation
from search_spaces import Budget
from tuners.search_algorithms.nsga2 import ConstrainedNsga2
from tuners.search_algorithms.random_search import RandomSearch

SEEDS = range(5)
SEARCHES = 3
THRESHOLD = 0.01
WINDOWS = {"proxylessnas": (350e6, 6 / 7), "proxylessnas-large": (450e6, 1 / 2)}
"""The upper limit of multiply-adds and the lower limit's share of it.

They admit the paper's networks, of 310 to 347 M and 271 to 444 M, and have the shares of its windows of latency."""

PAPER = {"proxylessnas": "10^17 (I-Supernet-S)", "proxylessnas-large": "10^27, 10^15, 10^9"}
"""The sizes that the paper prints (table 8)."""


def row(name: str, budget: Budget, seed: int) -> list[str]:
    """Return the cells of one seed, which decides landscape and search: sizes, the best architecture, the searches."""
    oracle = NeighbourOracle(search_spaces.load(name), seed)
    least, most = budget.root["macs"].interval()
    best = oracle.evaluate([oracle.best_within(most, least)])[0]
    start = time.perf_counter()
    stages = progressive_searches(oracle, budget, ConstrainedNsga2(), SEARCHES, THRESHOLD, seed)
    seconds = time.perf_counter() - start
    random_evaluations = run_search(RandomSearch().begin(oracle.space, oracle.costs, budget, seed), oracle)
    left = [NeighbourOracle(stage.space, seed).best_within(most, least) for stage in stages]
    return [
        _join(f"{stage.space.size():.1e}" for stage in stages),
        _join(_count_kept(best, stage) for stage in stages[1:]),
        "yes" if best.architecture in stages[-1].space else "no",
        f"{best.top1:.2f}",
        _join(f"{stage.best.top1 - best.top1:.2f}" for stage in stages),
        _join(f"{top1 - best.top1:.2f}" for top1 in oracle.top1(left)[1:].tolist()),
        f"{max(evaluation.top1 for evaluation in random_evaluations) - best.top1:.2f}",
        f"{seconds:.1f}",
    ]


def _count_kept(best: Evaluation, stage: ProgressiveSearch) -> int:
    """Return the number of the best architecture's operations in a stage's space."""
    return sum(i in kept for i, kept in zip(best.architecture.indices, stage.space.surviving, strict=True))


def _join(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))


def print_runs() -> None:
    """Run and print all spaces, budgets and seeds."""
    rows = [
        [name, kind, seed, *row(name, budget, seed)]
        for name, window in WINDOWS.items()
        for kind, budget in budgets(*window).items()
        for seed in SEEDS
    ]
    columns = [
        "space",
        "budget",
        "seed",
        "size by stage",
        "of 22 best operations kept",
        "best kept",
        "best top-1",
        "found, by stage",
        "left by pruning",
        "random",
        "seconds",
    ]
    print_table(columns, rows)


def main() -> None:
    command_parser("pad_nas.paper_scale", __doc__).parse_args()
    print_heading("PAD-NAS's pruning at the paper's scale", f"{SEEDS.start} to {SEEDS.stop - 1}")
    for name, (most, share) in WINDOWS.items():
        window = f"{share * most / 1e6:.0f} to {most / 1e6:.0f} M multiply-adds"
        print(f"- {name}: window of {window}; sizes in the paper: {PAPER[name]}")
    print("\nDifferences are in points, from the best architecture of the whole space.\n")
    print("- `found`: most accurate evaluated architecture")
    print("- `left`: most accurate architecture of the pruned space within the budget")
    print("- `random`: most accurate of the same number of random architectures as one search evaluates")
    print("- `seconds`: time of the three searches\n")
    print_runs()


if __name__ == "__main__":
    main()
