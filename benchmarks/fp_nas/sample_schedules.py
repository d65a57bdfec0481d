"""How many samples should FP-NAS draw, and from which distribution (figures 3 and 4, table 5)? With real supernets.

    python -m benchmarks.fp_nas.sample_schedules [--space nas-bench-macro] [--seeds 0 1 2] [--full]

The command is one `fp-nas-sweep` run under `--out`.

- On NAS-Bench-Macro the images are CIFAR-10's, and the chosen architecture has a true accuracy. A stage counts as a
  layer of 2, 3 and 3 choices.
- On `fbnetv2-f` the images are the digits, and the chosen network is trained stand-alone.

All schedules but FS K=4 begin with 14 samples, a quarter of the paper's 56.25 nats; lambda is scaled to the space's
entropy. `--full` adds the other lambdas of the paper, and a distribution that is always factorised.

Prints a table of the schedules, and a plot of entropy and K by epoch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

import raynas
from benchmarks.common.arguments import add_run_options, add_seeds, command_parser, parse_run_options
from benchmarks.common.oracles import TableOracle
from benchmarks.common.report import print_heading, print_table, save_figure, spread
from benchmarks.common.shared_data import CIFAR10
from raynas.recipe.recipe import Recipe
from raynas.reporting.terminal import Live
from raynas.study.run_plan import plan
from search_spaces import load
from tuners.fp_nas.sweep import ENTROPIES_FILE, FpNasSweep

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIRST = 14
"""K of the first training step, for all schedules but FS K=4."""
MACRO: dict[str, Any] = {
    "method": {
        "name": "fp-nas-sweep",
        "epochs": 24,
        "warmup_epochs": 8,
        "joint_from": 12,
        "likelihood_scale": 10,
        "architecture_learning_rate": 0.1,
    },
    "space": {"name": "nas-bench-macro", "width": 0.5},
    "data": {"name": "npz", "path": str(CIFAR10), "fraction": 0.2, "validation": 0.5, "augment": "crop-flip"},
    "budget": {},
    "training": {"batch_size": 50, "learning_rate": 0.03, "schedule": "cosine"},
    "evaluation": {"recalibration_images": 100, "recalibration_batch_size": 100},
}


def schedules(nats: float, full: bool) -> list[dict[str, Any]]:
    """Return the schedules. Lambda is scaled so that K begins with 14 at this entropy of the first distribution."""
    quarter = (FIRST + 0.06) / nats
    adaptive = [
        {"name": "FS K=14", "sample_size": {"fixed": FIRST}, "distribution": "joint"},
        {"name": "FS K=4", "sample_size": {"fixed": 4}, "distribution": "joint"},
        {"name": "AS 1/4, joint", "sample_size": {"per_nat": quarter}, "distribution": "joint"},
        {"name": "AS 1/4, mixed", "sample_size": {"per_nat": quarter}, "distribution": "mixed"},
    ]
    if not full:
        return adaptive
    others = [
        {"name": f"AS {name}, joint", "sample_size": {"per_nat": quarter * share}, "distribution": "joint"}
        for name, share in (("1/16", 0.25), ("1/8", 0.5), ("1/2", 2.0))
    ]
    return [*adaptive, *others, {**adaptive[-1], "name": "AS 1/4, factorised", "distribution": "factorised"}]


def recipe(space: str, seeds: Sequence[int], full: bool, changes: Sequence[str]) -> Recipe:
    """Return the recipe of the sweep: every schedule with every seed."""
    if space == "nas-bench-macro":
        small = load(**MACRO["space"], num_classes=10)
        costs = small.costs().total(np.array(list(product(*small.values()))))
        median = float(np.quantile(costs["macs"], 0.5, method="lower"))
        base = Recipe.read({**MACRO, "budget": {"macs": {"max": median}}}, changes)
    else:
        method = ["method.name=fp-nas-sweep", "method.sweep=[{name: none}]", "method.fit_each=true"]
        base = Recipe.read("fp-nas-digits", [*method, *changes])
    nats = math.log(plan(base).space.size())
    sweep = json.dumps(schedules(nats, full))
    method = [f"method.sweep={sweep}", f"method.seeds={list(seeds)}", "method.converged_nats=0"]
    return Recipe.read(base.json_value(), method)


def rows(table: pd.DataFrame) -> Iterator[list[str]]:
    """Yield the cells of each schedule, means over its trials."""
    base = table[table["schedule"] == "FS K=14"]
    for name, trials in table.groupby("schedule", sort=False):
        samples = trials["total_samples"].mean()
        yield [
            str(name),
            f"{samples:,.0f} ({100 * (samples / base['total_samples'].mean() - 1):+.0f} %)",
            f"{trials['seconds'].mean():.0f} ({base['seconds'].mean() / trials['seconds'].mean():.2f}x)",
            f"{trials['entropy'].mean():.1f}",
            f"{trials['macs'].mean() / 1e6:.2f}",
            spread(trials["top1"], 2),
            spread(trials["true"], 2),
        ]


def plot(epochs: pd.DataFrame) -> Figure:
    """Draw figures 3 and 4: entropy and K by epoch, means over the seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    panels = figure.subplots(1, 2)
    for panel, key, label in zip(panels, ("entropy", "sample_size"), ("entropy (nats)", "K"), strict=True):
        for name, trials in epochs.groupby("schedule", sort=False):
            mean = trials.groupby("epoch")[key].mean()
            panel.plot(mean.index, mean, label=name)
        panel.set(xlabel="epoch", ylabel=label)
    panels[0].legend(fontsize=8)
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_parser("fp_nas.sample_schedules", __doc__)
    spaces = ["nas-bench-macro", "fbnetv2-f"]
    parser.add_argument("--space", choices=spaces, default=spaces[0], help=f"search space (default: {spaces[0]})")
    add_seeds(parser, [0, 1, 2])
    parser.add_argument("--full", action="store_true", help="more lambdas and distributions")
    add_run_options(parser, "runs/sample-schedules")
    options = parse_run_options(parser, arguments)
    sweep = recipe(options.space, options.seeds, options.full, options.changes)
    folder = options.out / f"{options.space}-{sweep.identity()[:6]}"
    raynas.run(sweep, folder, reporter=Live())
    table = pd.read_csv(folder / FpNasSweep.table_name)
    if options.space == "nas-bench-macro":
        oracle = TableOracle(load("nas-bench-macro"))
        evaluations = oracle.evaluate([oracle.space.parse(text) for text in table["architecture"]])
        table["true"] = [evaluation.top1 for evaluation in evaluations]
    else:
        table["true"] = table["standalone_top1"]
    epochs = pd.read_csv(folder / ENTROPIES_FILE)
    print_heading("FP-NAS's numbers of samples and distributions", ", ".join(map(str, options.seeds)))
    method = sweep.method
    print(f"- {options.space}: {method['epochs']} epochs, the first {method['warmup_epochs']} for warm-up")
    print(f"- a mixed distribution is joint from epoch {method['joint_from']} on")
    scale, rate = method["likelihood_scale"], method["architecture_learning_rate"]
    print(f"- learning rate of the distribution: {rate}; likelihood scale: {scale}")
    print("- means over the seeds; accuracies in per cent, ± standard deviation\n")
    accuracy = "true accuracy" if options.space == "nas-bench-macro" else "stand-alone"
    print_table(("schedule", "drawn", "seconds", "last entropy", "M macs", "one-shot", accuracy), rows(table))
    save_figure(plot(epochs), f"sample_schedules_{options.space}", "Figures 3 and 4: entropy and K by epoch")


if __name__ == "__main__":
    main()
