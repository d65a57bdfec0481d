"""Does PAD-NAS's search find the true Pareto front of NAS-Bench-Macro, and does pruning keep the best architecture?

    python -m benchmarks.pad_nas.nas_bench_macro_oracle

The oracle is the benchmark's own table: every accuracy is true, and so is the Pareto front. The budget is a window, or
its upper limit alone: the median of multiply-adds, which half of the 6,561 architectures meet. The hypervolume is
measured from the worst feasible value of each objective.

Prints the hypervolumes of the searches, the number of feasible evaluations, and the results of pruning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pymoo.indicators.hv import HV

import search_spaces
from benchmarks.common.arguments import command_parser
from benchmarks.common.oracles import TableOracle, run_search
from benchmarks.common.report import print_heading, print_table
from benchmarks.pad_nas.budgets import budgets
from benchmarks.pad_nas.progressive import progressive_searches, prune_space
from raynas.interfaces.searcher import Evaluation, Searcher
from search_spaces import Budget
from tuners.search_algorithms.evolution import SposEvolution
from tuners.search_algorithms.nsga2 import ConstrainedNsga2
from tuners.search_algorithms.random_search import RandomSearch

SEEDS = range(10)
COUNTS = (100, 200, 400)
PLANNED = 400
"""Evaluations of a search. 40 generations of 64 would evaluate most of the 3,282 feasible architectures."""


@dataclass(frozen=True)
class Truth:
    """The table and a budget.

    Attributes:
        median: the upper limit of multiply-adds.
        feasible: the evaluations of all feasible architectures.
        best: the most accurate feasible evaluation.
    """

    oracle: TableOracle
    budget: Budget
    median: float
    feasible: list[Evaluation]
    best: Evaluation

    @classmethod
    def read(cls, kind: str = "window") -> Truth:
        """Read the public table. The budget is of a kind of `budgets`."""
        oracle = TableOracle(search_spaces.load("nas-bench-macro"))
        architectures = oracle.architectures()
        costs = oracle.costs.cost(architectures)
        median = float(np.median(costs["macs"]))
        budget = budgets(median)[kind]
        met = budget.met(costs)
        feasible = [each for each, is_met in zip(oracle.evaluate(architectures), met, strict=True) if is_met]
        best = max(feasible, key=lambda evaluation: evaluation.top1)
        return cls(oracle, budget, median, feasible, best)

    def share(self, evaluations: Sequence[Evaluation]) -> float:
        """Return the share of the true front's hypervolume that the evaluations dominate, in per cent."""
        truth = _objectives(self.feasible)
        hypervolume = HV(ref_point=truth.max(axis=0))
        return 100.0 * float(hypervolume(_objectives(evaluations)) / hypervolume(truth))

    def search(self, searcher: Searcher, seed: int) -> list[Evaluation]:
        """Search the whole space under the budget."""
        return run_search(searcher.begin(self.oracle.space, self.oracle.costs, self.budget, seed), self.oracle)


def _objectives(evaluations: Sequence[Evaluation]) -> NDArray[np.float64]:
    return np.array([[-evaluation.top1, evaluation.costs["macs"]] for evaluation in evaluations])


def searchers(population: int) -> dict[str, Searcher]:
    """Return the three searches. Each ends with the generation that completes `PLANNED` evaluations."""
    generations = -(-PLANNED // population)
    return {
        "constrained NSGA-II": ConstrainedNsga2(population=population, generations=generations),
        "SPOS evolution": SposEvolution(population=population, generations=generations),
        "random": RandomSearch(population=population, generations=generations),
    }


def shares(truth: Truth, searcher: Searcher, counts: Sequence[int] = COUNTS) -> NDArray[np.float64]:
    """Return the covered hypervolume after each number of evaluations, in per cent, shape (seeds, counts)."""
    runs = [truth.search(searcher, seed) for seed in SEEDS]
    return np.array([[truth.share(run[:count]) for count in counts] for run in runs])


def print_hypervolumes(truth: Truth) -> None:
    """Print the covered hypervolume of each search."""
    columns = ["search", "population", *(f"{count} evaluations" for count in COUNTS)]
    rows = []
    for population in (20, 64):
        for name, searcher in searchers(population).items():
            rows.append([name, population, *map(_median_and_range, shares(truth, searcher).T)])
    print("Hypervolume in per cent of the true front's: median of 10 seeds (least to greatest).\n")
    print_table(columns, rows)
    thousand = shares(truth, RandomSearch(population=1000, generations=1), [1000])
    print(f"1,000 random architectures within the budget: {_median_and_range(thousand[:, 0])}.\n")


def print_feasibility(truth: Truth) -> None:
    """Print the number of feasible evaluations, and whether all are distinct."""
    feasible = {evaluation.architecture for evaluation in truth.feasible}
    runs = [truth.search(searcher, seed) for searcher in searchers(20).values() for seed in SEEDS]
    evaluated = [evaluation.architecture for run in runs for evaluation in run]
    within = sum(architecture in feasible for architecture in evaluated)
    distinct = all(len({evaluation.architecture for evaluation in run}) == len(run) for run in runs)
    print(f"Evaluated within the budget: {within:,} of {len(evaluated):,}. All distinct in each search: {distinct}.\n")


def print_pruning(truth: Truth) -> None:
    """Print the results of search, prune, search for three thresholds and all seeds."""
    searcher = searchers(20)["constrained NSGA-II"]
    rows = []
    for threshold in (0.01, 0.05, 0.10):
        for seed in SEEDS:
            first, second = progressive_searches(truth.oracle, truth.budget, searcher, 2, threshold, seed)
            after = prune_space(second, threshold)
            removed = [
                f"{choice.name} {choice.options[option]}"
                for choice, before, left in zip(
                    first.space.choices, first.space.surviving, second.space.surviving, strict=True
                )
                for option in before
                if option not in left
            ]
            rows.append(
                [
                    f"{threshold:.0%}",
                    seed,
                    f"{first.space.size():,} > {second.space.size():,} > {after.size():,}",
                    "yes" if truth.best.architecture in second.space else "no",
                    f"{truth.best.top1 - first.best.top1:.3f}",
                    f"{truth.best.top1 - second.best.top1:.3f}",
                    ", ".join(removed) or "none",
                ]
            )
    best = truth.best
    print(f"PAD-NAS's search, prune, search at {PLANNED} evaluations for each search. The best within the budget is")
    print(f"`{best.architecture}` with {best.top1:.3f} % and {best.costs['macs']:,.0f} multiply-adds.\n")
    columns = ["P_th", "seed", "architectures", "best kept", "first search short by", "second", "pruned first"]
    print_table(columns, rows)


def _median_and_range(values: NDArray[np.float64]) -> str:
    return f"{np.median(values):.2f} ({values.min():.2f} to {values.max():.2f})"


def main() -> None:
    command_parser("pad_nas.nas_bench_macro_oracle", __doc__).parse_args()
    print_heading("NAS-Bench-Macro with its table as the oracle", f"{SEEDS.start} to {SEEDS.stop - 1}")
    for kind in ("window", "max alone"):
        truth = Truth.read(kind)
        least, most = truth.budget.root["macs"].interval()
        print(f"### {kind[0].upper() + kind[1:]}\n")
        print(
            f"{len(truth.feasible):,} of 6,561 architectures cost {max(least, 0):,.0f} to {most:,.0f} multiply-adds.\n"
        )
        print_hypervolumes(truth)
        print_feasibility(truth)
        print_pruning(truth)


if __name__ == "__main__":
    main()
