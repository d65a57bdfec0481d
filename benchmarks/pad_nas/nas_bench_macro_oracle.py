"""Searching NAS-Bench-Macro with its own table as the oracle: every accuracy is true, and so is the Pareto front.

    python -m benchmarks.pad_nas.nas_bench_macro_oracle

The budget is the median of multiply-adds, so half of the 6,561 architectures meet it. How much of the true front's
hypervolume a search covers is measured from the worst feasible value of each objective.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pymoo.indicators.hv import HV

import search_spaces
from benchmarks.common.oracles import TableOracle, drive
from benchmarks.common.report import heading, table
from benchmarks.pad_nas.progressive import progressive_searches, pruned
from raynas.interfaces.searcher import Evaluation, Searcher
from search_spaces import Budget
from tuners.search_algorithms.evolution import SposEvolution
from tuners.search_algorithms.nsga2 import ConstrainedNsga2
from tuners.search_algorithms.random_search import RandomSearch

SEEDS = range(10)
SPENT = (100, 200, 400)
PLANNED = 400
"""Evaluations a search may spend. 40 generations of 64 would evaluate most of the 3,282 feasible architectures."""


@dataclass(frozen=True)
class Truth:
    """The table under the budget that half of it meets.

    Attributes:
        median: the multiply-adds that the budget allows.
        feasible: every architecture that meets the budget, evaluated.
        best: the most accurate of them.
    """

    oracle: TableOracle
    budget: Budget
    median: float
    feasible: list[Evaluation]
    best: Evaluation

    @classmethod
    def read(cls) -> Truth:
        oracle = TableOracle(search_spaces.load("nas-bench-macro"))
        everything = oracle.evaluate(oracle.architectures())
        median = float(np.median([evaluation.costs["macs"] for evaluation in everything]))
        feasible = [evaluation for evaluation in everything if evaluation.costs["macs"] <= median]
        best = max(feasible, key=lambda evaluation: evaluation.top1)
        return cls(oracle, Budget.model_validate({"macs": {"max": median}}), median, feasible, best)

    def share(self, evaluations: Sequence[Evaluation]) -> float:
        """The part of the true front's hypervolume that these dominate, in per cent."""
        truth = _objectives(self.feasible)
        hypervolume = HV(ref_point=truth.max(axis=0))
        return 100.0 * float(hypervolume(_objectives(evaluations)) / hypervolume(truth))

    def search(self, searcher: Searcher, seed: int) -> list[Evaluation]:
        return drive(searcher.begin(self.oracle.space, self.oracle.costs, self.budget, seed), self.oracle)


def _objectives(evaluations: Sequence[Evaluation]) -> NDArray[np.float64]:
    return np.array([[-evaluation.top1, evaluation.costs["macs"]] for evaluation in evaluations])


def searchers(population: int) -> dict[str, Searcher]:
    """The three searches, each of `PLANNED` evaluations or the generation that completes them."""
    generations = -(-PLANNED // population)
    return {
        "constrained NSGA-II": ConstrainedNsga2(population=population, generations=generations),
        "SPOS evolution": SposEvolution(population=population, generations=generations),
        "random": RandomSearch(population=population, generations=generations),
    }


def shares(truth: Truth, searcher: Searcher, spent: Sequence[int] = SPENT) -> NDArray[np.float64]:
    """The hypervolume covered after so many evaluations, in per cent, shape (seeds, spent)."""
    runs = [truth.search(searcher, seed) for seed in SEEDS]
    return np.array([[truth.share(run[:count]) for count in spent] for run in runs])


def print_hypervolumes(truth: Truth) -> None:
    columns = ["search", "population", *(f"{count} evaluations" for count in SPENT)]
    rows = []
    for population in (20, 64):
        for name, searcher in searchers(population).items():
            rows.append([name, population, *map(_median_and_range, shares(truth, searcher).T)])
    print("Hypervolume in per cent of the true front's: median of 10 seeds (least to greatest).\n")
    table(columns, rows)
    thousand = shares(truth, RandomSearch(population=1000, generations=1), [1000])
    print(f"1,000 random architectures within the budget: {_median_and_range(thousand[:, 0])}.\n")


def print_feasibility(truth: Truth) -> None:
    feasible = {evaluation.architecture for evaluation in truth.feasible}
    runs = [truth.search(searcher, seed) for searcher in searchers(20).values() for seed in SEEDS]
    asked = [evaluation.architecture for run in runs for evaluation in run]
    within = sum(architecture in feasible for architecture in asked)
    distinct = all(len({evaluation.architecture for evaluation in run}) == len(run) for run in runs)
    print(f"Evaluated within the budget: {within:,} of {len(asked):,}. None twice in a search: {distinct}.\n")


def print_pruning(truth: Truth) -> None:
    searcher = searchers(20)["constrained NSGA-II"]
    rows = []
    for threshold in (0.01, 0.05, 0.10):
        for seed in SEEDS:
            first, second = progressive_searches(truth.oracle, truth.budget, searcher, 2, threshold, seed)
            after = pruned(second, threshold)
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
    print(f"PAD-NAS's search, prune, search at {PLANNED} evaluations a search. The best within the budget is")
    print(f"`{best.architecture}` with {best.top1:.3f} % and {best.costs['macs']:,.0f} multiply-adds.\n")
    columns = ["P_th", "seed", "architectures", "best kept", "first search short by", "second", "pruned first"]
    table(columns, rows)


def _median_and_range(values: NDArray[np.float64]) -> str:
    return f"{np.median(values):.2f} ({values.min():.2f} to {values.max():.2f})"


def main() -> None:
    truth = Truth.read()
    heading("NAS-Bench-Macro with its table as the oracle", f"{SEEDS.start} to {SEEDS.stop - 1}")
    print(f"{len(truth.feasible):,} of 6,561 architectures meet the budget of {truth.median:,.0f} multiply-adds.\n")
    print_hypervolumes(truth)
    print_feasibility(truth)
    print_pruning(truth)


if __name__ == "__main__":
    main()
