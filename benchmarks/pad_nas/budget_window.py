"""What does the lower limit of PAD-NAS's budget do (equation 2)? NAS-Bench-Macro's table decides.

    python -m benchmarks.pad_nas.budget_window

PAD-NAS searches three times and prunes twice. I-Supernet searches once, with as many evaluations as PAD-NAS's last
search. Each search ends with the architecture of the best one-shot accuracy, which is one of these:

- the table's own;
- the table's, without its linear dependence on multiply-adds: it ranks networks of equal cost truly, but does not see
  that costlier networks are better;
- noise, which ranks nothing.

The controls are architectures within the budget: at random, and the costliest.

Prints a table with a row for each one-shot accuracy and budget.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.stats import sem

import search_spaces
from benchmarks.common.arguments import command_parser
from benchmarks.common.oracles import KnownOracle, TableOracle
from benchmarks.common.report import print_heading, print_table, spread
from benchmarks.pad_nas.budgets import LEAST_SHARE, budgets
from benchmarks.pad_nas.progressive import ProgressiveSearch, counted_evaluations, progressive_searches
from search_spaces import Architecture, Budget, SearchSpace
from tuners.search_algorithms.nsga2 import ConstrainedNsga2

SEEDS = range(20)
SEARCHES = 3
THRESHOLD = 0.05
SEARCHER = ConstrainedNsga2(population=20, generations=20)


class BlindOracle(KnownOracle):
    """The true accuracies without their linear dependence on multiply-adds."""

    def __init__(self, truth: TableOracle) -> None:
        self.space, self.truth = truth.space, truth

    @cached_property
    def _line(self) -> NDArray[np.float64]:
        architectures = self.truth.architectures()
        return np.polyfit(self.costs.cost(architectures)["macs"], self.truth.top1(architectures), 1)

    def top1(self, architectures: Sequence[Architecture]) -> NDArray[np.float64]:
        return self.truth.top1(architectures) - np.polyval(self._line, self.costs.cost(architectures)["macs"])


class NoiseOracle(KnownOracle):
    """A random accuracy for each architecture, which a seed decides."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self.space, self._seed = space, seed

    def top1(self, architectures: Sequence[Architecture]) -> NDArray[np.float64]:
        return np.array([np.random.default_rng([self._seed, *each.indices]).normal() for each in architectures])


ONE_SHOT: dict[str, Callable[[TableOracle, int], KnownOracle]] = {
    "true": lambda truth, seed: truth,
    "blind to cost": lambda truth, seed: BlindOracle(truth),
    "noise": lambda truth, seed: NoiseOracle(truth.space, seed),
}
"""By name: the oracle of a seed that stands for a supernet."""


def true_top1(truth: TableOracle, stage: ProgressiveSearch) -> float:
    """Return the true accuracy of the architecture with the best one-shot accuracy."""
    return float(truth.top1([stage.best.architecture])[0])


def row(truth: TableOracle, one_shot: str, budget: Budget, most: float) -> list[str]:
    """Return the cells of a one-shot accuracy and a budget."""
    oracles = {seed: ONE_SHOT[one_shot](truth, seed) for seed in SEEDS}
    runs = [
        progressive_searches(oracle, budget, SEARCHER, SEARCHES, THRESHOLD, seed) for seed, oracle in oracles.items()
    ]
    pad_nas, i_supernet = ([true_top1(truth, run[stage]) for run in runs] for stage in (-1, 0))
    counted = [np.mean([each.costs["macs"] for each in counted_evaluations(run[0].evaluations)]) for run in runs]
    gains = np.subtract(pad_nas, i_supernet)
    costs = truth.costs.cost(truth.architectures())
    feasible = budget.met(costs)
    top1, macs = truth.top1(truth.architectures())[feasible], costs["macs"][feasible]
    drawn = np.random.default_rng(0).choice(top1, len(SEEDS), replace=False)
    return [
        spread(pad_nas, 2),
        spread(i_supernet, 2),
        f"{np.mean(gains):+.2f} ± {sem(gains):.2f}",
        spread(drawn, 2),
        f"{top1[macs.argmax()]:.2f}",
        f"{top1.max():.2f}",
        f"{100 * np.mean(counted) / most:.0f} %",
        f"{np.median([run[-1].space.size() for run in runs]):,.0f}",
    ]


def main() -> None:
    command_parser("pad_nas.budget_window", __doc__).parse_args()
    truth = TableOracle(search_spaces.load("nas-bench-macro"))
    most = float(np.median(truth.costs.cost(truth.architectures())["macs"]))
    print_heading("The lower limit of PAD-NAS's budget", f"{SEEDS.start} to {SEEDS.stop - 1}")
    print(f"- `window`: {LEAST_SHARE * most:,.0f} to {most:,.0f} multiply-adds; `max alone`: at most {most:,.0f}")
    print(f"- searches: {SEARCHER.population} x {SEARCHER.generations}; operations in at most {THRESHOLD:.0%} go")
    print("- accuracies: true top-1 in %, mean ± standard deviation over the seeds")
    print("- `difference`: PAD-NAS minus I-Supernet, mean ± standard error")
    print("- `counted`: mean multiply-adds of the architectures that decide the first pruning, of the limit")
    print("- `last space`: median number of architectures\n")
    columns = [
        "one-shot",
        "budget",
        "PAD-NAS",
        "I-Supernet",
        "difference",
        "random",
        "costliest",
        "best",
        "counted",
        "last space",
    ]
    rows = [
        [one_shot, name, *row(truth, one_shot, budget, most)]
        for one_shot in ONE_SHOT
        for name, budget in budgets(most).items()
    ]
    print_table(columns, rows)


if __name__ == "__main__":
    main()
