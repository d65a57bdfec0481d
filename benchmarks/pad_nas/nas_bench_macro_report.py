"""What the runs of `nas_bench_macro` came to, in the order of PAD-NAS's tables 6 to 9 and figure 5."""

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
from benchmarks.common.report import heading, table
from benchmarks.pad_nas.nas_bench_macro_oracle import Truth
from raynas.recipe.recipe import Recipe
from raynas.results.outcome import json_rows
from raynas.results.pareto import non_domination_ranks, pareto_front
from raynas.storage.run_folder import RunFolder
from raynas.storage.step_records import records
from raynas.study.run_plan import plan
from search_spaces import Architecture, SearchSpace, from_specification

SPOS, FIXED_SET = "spos", "fixed-set"
"""The steps that the benchmark adds to a method's own."""
ON_FRONT = 30
DRAWN = 5


@dataclass(frozen=True)
class Searched:
    """One method's last search with one seed.

    Attributes:
        stages: M, the number of stages.
        space: the space that was searched last.
        found: what that search evaluated.
        compared: the fixed random set with the same supernet.
        curve: the supernet's accuracy on validation images in per cent, one number an epoch.
        seconds: spent in training, and in searching.
        searches: the evaluations of all searches.
    """

    stages: int
    space: SearchSpace
    found: pd.DataFrame
    compared: pd.DataFrame
    curve: list[float]
    seconds: tuple[float, float]
    searches: int

    @classmethod
    def read(cls, folder: Path, final: str = "final") -> Searched:
        outcome, steps = raynas.load(folder), _steps(folder)
        trainings = [step for step in steps if step["name"].startswith("supernet")]
        searches = [step for step in steps if step["name"].startswith("search-") or step["name"] == final]
        history = [row for step in trainings for row in step["result"]["history"]]
        names = [step["name"] for step in searches]
        return cls(
            stages=len(trainings) + 1,
            space=from_specification(outcome.space),
            found=outcome.table[outcome.table["step"] == final],
            compared=outcome.table[outcome.table["step"] == FIXED_SET],
            curve=[row["validation_top1"] for row in history],
            seconds=(sum(step["seconds"] for step in trainings), sum(step["seconds"] for step in searches)),
            searches=int(outcome.table["step"].isin(names).sum()),
        )

    @property
    def chosen(self) -> dict[str, Any]:
        """The row of the most accurate architecture of the front: what the method hands back."""
        return max(json_rows(pareto_front(self.found, "macs")), key=lambda row: float(row["top1"]))


Seed = Mapping[str, Searched]
"""The methods' last searches with one seed, by the name of the method."""


def is_finished(folders: Mapping[str, Path]) -> bool:
    """Whether nothing is left to run in these folders, of one seed's methods."""
    done = {method: {step["name"] for step in _steps(folder) if _done(step)} for method, folder in folders.items()}
    return all(FIXED_SET in names for names in done.values()) and SPOS in done["i-supernet"]


def read_seed(folders: Mapping[str, Path]) -> Seed:
    return {
        "SPOS": Searched.read(folders["i-supernet"], SPOS),
        "I-Supernet": Searched.read(folders["i-supernet"]),
        "P-Supernet": Searched.read(folders["p-supernet"]),
        "PAD-NAS": Searched.read(folders["pad-nas"]),
    }


def _steps(folder: Path) -> list[dict[str, Any]]:
    return records(RunFolder(folder))


def _done(step: Mapping[str, Any]) -> bool:
    return bool(step["state"] == "finished")


def along_front(found: pd.DataFrame, count: int = ON_FRONT) -> pd.DataFrame:
    """`count` architectures at equal distances along the first fronts that hold so many, in the order of their cost."""
    ranks = non_domination_ranks(found["top1"], found["macs"])
    count = min(count, len(found))
    near: pd.DataFrame = found[ranks <= np.sort(ranks)[count - 1]].sort_values(["macs", "architecture"])
    return near.iloc[np.linspace(0, len(near) - 1, count).round().astype(int)]


def tau(truth: Truth, rows: pd.DataFrame) -> float:
    """Kendall's tau-b between one-shot and true accuracy."""
    return float(kendalltau(rows["top1"], [true_top1(truth, text) for text in rows["architecture"]]).statistic)


def true_top1(truth: Truth, text: str) -> float:
    """The table's accuracy of an architecture in per cent: the mean of three trainings from scratch."""
    return float(truth.oracle.accuracy[truth.oracle.space.parse(text).indices])


def report(truth: Truth, recipe: Recipe, seeds: Mapping[int, Seed], out: Path) -> None:
    """Print every table from the seeds that are finished, and write figure 5's curve to `figure-5.csv`."""
    heading("NAS-Bench-Macro with real supernets on CIFAR-10", ", ".join(map(str, seeds)) or "none is finished yet")
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
        f"{data.counts['train']:,} training images, {data.counts['validation']} validation images (one-shot accuracy), "
        f"{recipe.evaluation.recalibration_images} for batch norm's statistics.\n"
        f"{sum(method['epochs'])} epochs of supernet training in all for every method (PAD-NAS: "
        f"{' + '.join(map(str, method['epochs']))}), batches of {training.batch_size}, learning rates "
        f"{', '.join(map(str, method['learning_rates']))}, {recipe.scale.train.workers} training workers.\n"
        f"Searches of {recipe.search['population']} x {recipe.search['generations']} architectures of at most "
        f"{truth.median:,.0f} multiply-adds (the median). Operations at or below {100 * method['prune_below']:g} % of "
        f"the architectures of rank below {method['below_rank']} are pruned (the paper: 1 %, rank below 10, 64 x 40).\n"
        "SPOS searches the very supernet that I-Supernet trained. Figures are mean ± sample standard deviation over "
        "seeds.\n"
    )


def _print_table_8(truth: Truth, seeds: Mapping[int, Seed]) -> None:
    print(
        f"Table 8: Kendall's tau between one-shot and true accuracy, on {ON_FRONT} architectures at equal distances\n"
        "along the first fronts of each method's last search, and on one random set for all methods of a seed, drawn\n"
        "from the space that PAD-NAS pruned last, whatever they cost.\n"
    )
    rows = []
    for method in _methods(seeds):
        of_seeds = [one[method] for one in seeds.values()]
        sizes = ", ".join(f"{one.space.size():,}" for one in of_seeds)
        front = [tau(truth, along_front(one.found)) for one in of_seeds]
        fixed = [tau(truth, one.compared) for one in of_seeds]
        rows.append([method, of_seeds[0].stages, sizes, _spread(front, 2), _spread(fixed, 2)])
    count = len(next(iter(seeds.values()))["PAD-NAS"].compared)
    table(["method", "M", "last space, per seed", f"{ON_FRONT} along the front", f"fixed set of {count}"], rows)


def _print_table_7(truth: Truth, seeds: Mapping[int, Seed]) -> None:
    print(
        f"Table 7: the true accuracy of {DRAWN} random networks within the budget, and of all that there are; the\n"
        "last column has only those that cost 90 to 100 % of the budget.\n"
    )
    rows = []
    for seed, methods in seeds.items():
        for name, space in (("whole", truth.oracle.space), ("PAD-NAS's", methods["PAD-NAS"].space)):
            within = _within(truth, space, 0.0)
            drawn = np.random.default_rng([seed, DRAWN]).permutation(len(within))[:DRAWN]
            dear = _within(truth, space, 0.9)
            random = _spread([within[one] for one in drawn], 2)
            near = f"{_spread(dear, 2)} ({len(dear):,})" if dear else "none"
            rows.append([seed, name, f"{len(within):,}", random, f"{np.mean(within):.2f}", f"{max(within):.2f}", near])
    table(["seed", "space", "networks", f"{DRAWN} at random", "mean", "best", "near the budget"], rows)


def _within(truth: Truth, space: SearchSpace, share: float) -> list[float]:
    """The true accuracies of a space's architectures that cost from this share of the budget to all of it."""
    everything = [space.architecture(indices) for indices in itertools.product(*space.surviving)]
    macs = truth.oracle.costs.cost(everything)["macs"].numpy()
    kept: list[Architecture] = [
        one for one, cost in zip(everything, macs, strict=True) if share * truth.median <= cost <= truth.median
    ]
    return [truth.oracle.accuracy[one.indices] for one in kept]


def _print_table_6(truth: Truth, seeds: Mapping[int, Seed]) -> None:
    print("Table 6: one-shot and true accuracy of the architecture that was chosen, in per cent.\n")
    figures: dict[str, Callable[[Searched], float]] = {
        "one-shot": lambda one: one.chosen["top1"],
        "true": lambda one: true_top1(truth, one.chosen["architecture"]),
        "gap": lambda one: true_top1(truth, one.chosen["architecture"]) - one.chosen["top1"],
    }
    table(["method", *figures], _over_seeds(seeds, figures, 2))


def _print_chosen(truth: Truth, seeds: Mapping[int, Seed]) -> None:
    feasible = np.array([one.top1 for one in truth.feasible])
    print(
        f"What was chosen. The best of all 6,561 has {max(truth.oracle.accuracy.values()):.2f} %, the best within the "
        f"budget {truth.best.top1:.2f} %,\nthe mean within it {feasible.mean():.2f} %. `best seen` is the best by "
        "truth of all that the last search evaluated.\n"
    )
    rows = []
    for seed, methods in seeds.items():
        for method, one in methods.items():
            true = true_top1(truth, one.chosen["architecture"])
            seen = max(true_top1(truth, text) for text in one.found["architecture"])
            key = "".join(map(str, one.space.parse(one.chosen["architecture"]).indices))
            above = f"{100 * (feasible < true).mean():.1f} %"
            rows.append([seed, method, key, f"{one.chosen['macs']:,}", f"{true:.2f}", above, f"{seen:.2f}"])
    columns = ["seed", "method", "chosen", "multiply-adds", "true accuracy", "above so many in the budget", "best seen"]
    table(columns, rows)


def _print_figure_5(seeds: Mapping[int, Seed], out: Path) -> None:
    print(
        "Figure 5: the supernet's accuracy on validation images, the mean of a few uniformly drawn sub-networks, by "
        f"epoch\n({out / 'figure-5.csv'} has every seed).\n"
    )
    curves = [
        {"seed": seed, "method": method, "epoch": epoch, "validation_top1": top1}
        for seed, methods in seeds.items()
        for method, one in methods.items()
        if method != "SPOS"
        for epoch, top1 in enumerate(one.curve, start=1)
    ]
    curve = pd.DataFrame(curves)
    curve.to_csv(out / "figure-5.csv", index=False)
    methods = [method for method in _methods(seeds) if method != "SPOS"]
    by_epoch = curve.pivot_table(index="epoch", columns="method", values="validation_top1")[methods]
    table(["epoch", *methods], [[epoch, *(f"{top1:.1f}" for top1 in row)] for epoch, row in by_epoch.iterrows()])


def _print_table_9(seeds: Mapping[int, Seed]) -> None:
    print("Table 9: seconds by step, and the architectures that all searches evaluated.\n")
    figures: dict[str, Callable[[Searched], float]] = {
        "supernet training": lambda one: one.seconds[0],
        "searches": lambda one: one.seconds[1],
        "in all": lambda one: sum(one.seconds),
        "evaluations": lambda one: one.searches,
    }
    table(["method", *figures], _over_seeds(seeds, figures, 0))


def _over_seeds(
    seeds: Mapping[int, Seed], figures: Mapping[str, Callable[[Searched], float]], decimals: int
) -> list[list[str]]:
    return [
        [method, *(_spread([figure(one[method]) for one in seeds.values()], decimals) for figure in figures.values())]
        for method in _methods(seeds)
    ]


def _methods(seeds: Mapping[int, Seed]) -> list[str]:
    return list(next(iter(seeds.values())))


def _spread(values: Sequence[float], decimals: int) -> str:
    mean = f"{np.mean(values):.{decimals}f}"
    return f"{mean} ± {np.std(values, ddof=1):.{decimals}f}" if len(values) > 1 else mean
