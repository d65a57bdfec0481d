"""The tables of `nas_bench_macro`: PAD-NAS's tables 6 to 9 and figure 5."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

import raynas
from benchmarks.common.report import print_heading, print_table
from benchmarks.pad_nas.nas_bench_macro_oracle import Truth
from raynas.recipe.recipe import Recipe
from raynas.results.outcome import json_rows
from raynas.results.pareto import non_domination_ranks, pareto_front
from raynas.storage.run_folder import RunFolder
from raynas.storage.step_records import records
from raynas.study.run_plan import plan
from search_spaces import SearchSpace, from_specification
from search_spaces.budget.feasibility import window_text

SPOS, FIXED_SET = "spos", "fixed-set"
"""The steps that the benchmark adds to a method's own."""
ON_FRONT = 30
DRAWN = 5


@dataclass(frozen=True)
class LastSearch:
    """One method's last search with one seed.

    Attributes:
        stages: M, the number of stages.
        space: its search space.
        evaluated: its rows of the evaluation table.
        fixed_set: the rows of the fixed random set, with the same supernet.
        curve: the supernet's accuracy on validation images after each epoch, in per cent.
        seconds: the seconds of all trainings, and of all searches.
        evaluations: the number of evaluations of all searches.
    """

    stages: int
    space: SearchSpace
    evaluated: pd.DataFrame
    fixed_set: pd.DataFrame
    curve: list[float]
    seconds: tuple[float, float]
    evaluations: int

    @classmethod
    def read(cls, folder: Path, final: str = "final") -> LastSearch:
        """Read a search from its run folder, by the name of its step."""
        outcome, steps = raynas.load(folder), _steps(folder)
        trainings = [step for step in steps if step["name"].startswith("supernet")]
        searches = [step for step in steps if step["name"].startswith("search-") or step["name"] == final]
        history = [row for step in trainings for row in step["result"]["history"]]
        names = [step["name"] for step in searches]
        return cls(
            stages=len(trainings) + 1,
            space=from_specification(outcome.space),
            evaluated=outcome.table[outcome.table["step"] == final],
            fixed_set=outcome.table[outcome.table["step"] == FIXED_SET],
            curve=[row["validation_top1"] for row in history],
            seconds=(sum(step["seconds"] for step in trainings), sum(step["seconds"] for step in searches)),
            evaluations=int(outcome.table["step"].isin(names).sum()),
        )

    @property
    def chosen(self) -> dict[str, Any]:
        """The row of the most accurate architecture of the front: the result of the method."""
        return max(json_rows(pareto_front(self.evaluated, "macs")), key=lambda row: float(row["top1"]))


Seed = Mapping[str, LastSearch]
"""The methods' last searches with one seed, by the name of the method."""


def is_finished(folders: Mapping[str, Path]) -> bool:
    """Return whether all runs of one seed are finished."""
    done = {method: {step["name"] for step in _steps(folder) if _done(step)} for method, folder in folders.items()}
    return all(FIXED_SET in names for names in done.values()) and SPOS in done["i-supernet"]


def read_seed(folders: Mapping[str, Path]) -> Seed:
    """Read the last searches of one seed."""
    return {
        "SPOS": LastSearch.read(folders["i-supernet"], SPOS),
        "I-Supernet": LastSearch.read(folders["i-supernet"]),
        "P-Supernet": LastSearch.read(folders["p-supernet"]),
        "PAD-NAS": LastSearch.read(folders["pad-nas"]),
    }


def _steps(folder: Path) -> list[dict[str, Any]]:
    return records(RunFolder(folder))


def _done(step: Mapping[str, Any]) -> bool:
    return bool(step["state"] == "finished")


def along_front(table: pd.DataFrame, count: int = ON_FRONT) -> pd.DataFrame:
    """Return `count` rows at equal distances along the first fronts, in the order of their cost.

    As many fronts count as `count` rows need.
    """
    ranks = non_domination_ranks(table["top1"], table["macs"])
    count = min(count, len(table))
    near: pd.DataFrame = table[ranks <= np.sort(ranks)[count - 1]].sort_values(["macs", "architecture"])
    return near.iloc[np.linspace(0, len(near) - 1, count).round().astype(int)]


def tau(truth: Truth, rows: pd.DataFrame) -> float:
    """Return Kendall's tau-b between one-shot and true accuracy."""
    return float(kendalltau(rows["top1"], [true_top1(truth, text) for text in rows["architecture"]]).statistic)


def true_top1(truth: Truth, text: str) -> float:
    """Return the table's accuracy of an architecture in per cent: the mean of three trainings from scratch."""
    return float(truth.oracle.accuracy[truth.oracle.space.parse(text).indices])


def print_report(truth: Truth, recipe: Recipe, seeds: Mapping[int, Seed], out: Path) -> None:
    """Print every table of the finished seeds, and write figure 5's curve to `figure-5.csv`."""
    print_heading(
        "NAS-Bench-Macro with real supernets on CIFAR-10", ", ".join(map(str, seeds)) or "none is finished yet"
    )
    if not seeds:
        return
    _print_settings(truth, recipe)
    _print_table_8(truth, seeds)
    _print_table_7(truth, seeds)
    _print_table_6(truth, seeds)
    _print_chosen(truth, seeds)
    _print_figure_5(seeds, out)
    _print_table_9(seeds)


def _print_settings(truth: Truth, recipe: Recipe) -> None:
    training, method = recipe.training, recipe.method
    data = plan(recipe).data
    print(
        f"- images: {data.counts['train']:,} for training, {data.counts['validation']} for validation (one-shot "
        f"accuracy), {recipe.evaluation.recalibration_images} for batch norm's statistics\n"
        f"- training of every method: {sum(method['epochs'])} epochs (PAD-NAS: "
        f"{' + '.join(map(str, method['epochs']))}), batches of {training.batch_size}, learning rates "
        f"{', '.join(map(str, method['learning_rates']))}, {recipe.scale.train.workers} workers\n"
        f"- searches: {recipe.search['population']} x {recipe.search['generations']} architectures; "
        f"{window_text('macs', truth.budget.root['macs'].interval())} (the median)\n"
        f"- pruning: operations in at most {100 * method['prune_below']:g} % of the architectures of rank below "
        f"{method['below_rank']} (the paper: 1 %, rank below 10, 64 x 40)\n"
        "- SPOS searches the supernet of I-Supernet\n"
        "- figures: mean ± sample standard deviation over seeds\n"
    )


def _print_table_8(truth: Truth, seeds: Mapping[int, Seed]) -> None:
    print(
        "Table 8: Kendall's tau between one-shot and true accuracy.\n\n"
        f"- along the front: {ON_FRONT} architectures at equal distances along the first fronts of the last search\n"
        "- fixed set: one random set for all methods of a seed, from the last space of PAD-NAS, at any cost\n"
    )
    rows = []
    for method in _methods(seeds):
        searches = [methods[method] for methods in seeds.values()]
        sizes = ", ".join(f"{search.space.size():,}" for search in searches)
        front = [tau(truth, along_front(search.evaluated)) for search in searches]
        fixed = [tau(truth, search.fixed_set) for search in searches]
        rows.append([method, searches[0].stages, sizes, _spread(front, 2), _spread(fixed, 2)])
    count = len(next(iter(seeds.values()))["PAD-NAS"].fixed_set)
    print_table(["method", "M", "last space, by seed", f"{ON_FRONT} along the front", f"fixed set of {count}"], rows)


def _print_table_7(truth: Truth, seeds: Mapping[int, Seed]) -> None:
    print(
        f"Table 7: true accuracy of {DRAWN} random networks within the budget, and of all networks within it.\n"
        "`near the limit`: of the networks that cost 90 to 100 % of the upper limit.\n"
    )
    rows = []
    for seed, methods in seeds.items():
        for name, space in (("whole", truth.oracle.space), ("PAD-NAS's", methods["PAD-NAS"].space)):
            within = _within(truth, space, 0.0)
            drawn = np.random.default_rng([seed, DRAWN]).permutation(len(within))[:DRAWN]
            costly = _within(truth, space, 0.9)
            random = _spread([within[number] for number in drawn], 2)
            near = f"{_spread(costly, 2)} ({len(costly):,})" if costly else "none"
            rows.append([seed, name, f"{len(within):,}", random, f"{np.mean(within):.2f}", f"{max(within):.2f}", near])
    print_table(["seed", "space", "networks", f"{DRAWN} at random", "mean", "best", "near the limit"], rows)


def _within(truth: Truth, space: SearchSpace, share: float) -> list[float]:
    """Return the true accuracies of a space's architectures within the budget.

    Args:
        share: the least multiply-adds, as a share of the budget's upper limit.
    """
    architectures = [space.architecture(indices) for indices in itertools.product(*space.surviving)]
    costs = truth.oracle.costs.cost(architectures)
    within = truth.budget.met(costs) & (costs["macs"] >= share * truth.median)
    return [truth.oracle.accuracy[architectures[place].indices] for place in np.flatnonzero(within)]


def _print_table_6(truth: Truth, seeds: Mapping[int, Seed]) -> None:
    print("Table 6: one-shot and true accuracy of the chosen architecture, in per cent.\n")
    figures: dict[str, Callable[[LastSearch], float]] = {
        "one-shot": lambda search: search.chosen["top1"],
        "true": lambda search: true_top1(truth, search.chosen["architecture"]),
        "gap": lambda search: true_top1(truth, search.chosen["architecture"]) - search.chosen["top1"],
    }
    print_table(["method", *figures], _over_seeds(seeds, figures, 2))


def _print_chosen(truth: Truth, seeds: Mapping[int, Seed]) -> None:
    feasible = np.array([evaluation.top1 for evaluation in truth.feasible])
    print(
        "The chosen architectures. True accuracy of the best of all 6,561: "
        f"{max(truth.oracle.accuracy.values()):.2f} %, of the best within the budget:\n{truth.best.top1:.2f} %; mean "
        f"within the budget: {feasible.mean():.2f} %.\n\n"
        "- `better than`: share of the architectures within the budget with a lower true accuracy\n"
        "- `best evaluated`: highest true accuracy among all evaluations of the last search\n"
    )
    rows = []
    for seed, methods in seeds.items():
        for method, search in methods.items():
            chosen = search.chosen
            true = true_top1(truth, chosen["architecture"])
            best = max(true_top1(truth, text) for text in search.evaluated["architecture"])
            key = "".join(map(str, search.space.parse(chosen["architecture"]).indices))
            better_than = f"{100 * (feasible < true).mean():.1f} %"
            rows.append([seed, method, key, f"{chosen['macs']:,}", f"{true:.2f}", better_than, f"{best:.2f}"])
    columns = ["seed", "method", "chosen", "multiply-adds", "true accuracy", "better than", "best evaluated"]
    print_table(columns, rows)


def _print_figure_5(seeds: Mapping[int, Seed], out: Path) -> None:
    print(
        "Figure 5: the supernet's accuracy on validation images by epoch, the mean of a few uniformly drawn "
        f"sub-networks.\n{out / 'figure-5.csv'} has every seed.\n"
    )
    rows = [
        {"seed": seed, "method": method, "epoch": epoch, "validation_top1": top1}
        for seed, methods in seeds.items()
        for method, search in methods.items()
        if method != "SPOS"
        for epoch, top1 in enumerate(search.curve, start=1)
    ]
    curve = pd.DataFrame(rows)
    curve.to_csv(out / "figure-5.csv", index=False)
    methods = [method for method in _methods(seeds) if method != "SPOS"]
    by_epoch = curve.pivot_table(index="epoch", columns="method", values="validation_top1")[methods]
    print_table(["epoch", *methods], [[epoch, *(f"{top1:.1f}" for top1 in row)] for epoch, row in by_epoch.iterrows()])


def _print_table_9(seeds: Mapping[int, Seed]) -> None:
    print("Table 9: seconds by kind of step, and the number of evaluations of all searches.\n")
    figures: dict[str, Callable[[LastSearch], float]] = {
        "supernet training": lambda search: search.seconds[0],
        "searches": lambda search: search.seconds[1],
        "both": lambda search: sum(search.seconds),
        "evaluations": lambda search: search.evaluations,
    }
    print_table(["method", *figures], _over_seeds(seeds, figures, 0))


def _over_seeds(
    seeds: Mapping[int, Seed], figures: Mapping[str, Callable[[LastSearch], float]], decimals: int
) -> list[list[str]]:
    return [
        [
            method,
            *(
                _spread([figure(methods[method]) for methods in seeds.values()], decimals)
                for figure in figures.values()
            ),
        ]
        for method in _methods(seeds)
    ]


def _methods(seeds: Mapping[int, Seed]) -> list[str]:
    return list(next(iter(seeds.values())))


def _spread(values: Sequence[float], decimals: int) -> str:
    """Return mean ± sample standard deviation as text."""
    mean = f"{np.mean(values):.{decimals}f}"
    return f"{mean} ± {np.std(values, ddof=1):.{decimals}f}" if len(values) > 1 else mean
