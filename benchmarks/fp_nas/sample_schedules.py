"""FP-NAS figures 3 and 4 and table 5: how many samples, of which distribution? With real supernets.

    python -m benchmarks.fp_nas.sample_schedules [--space nas-bench-macro] [--seeds 0 1 2] [--full]

One `fp-nas-sweep` run in a run folder under `--out`: the command goes on with what is not finished. On NAS-Bench-Macro
the images are CIFAR-10's, what is found has a true accuracy, and a stage counts as a layer of 2, 3 and 3 choices; on
`fbnetv2-f` they are the digits, and what is found is trained alone. All schedules but FS K=4 begin with 14 samples, a
quarter of the paper's 56.25 nats, lambda being scaled to the space's entropy. `--full` adds the other lambdas of the
paper and the distribution that is factorised throughout.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

import raynas
from benchmarks.common.oracles import TableOracle
from benchmarks.common.report import heading, picture, table
from benchmarks.pad_nas.nas_bench_macro import CIFAR10
from raynas.recipe.recipe import Recipe
from raynas.storage.progress import Live
from raynas.study.run_plan import plan
from search_spaces import load
from tuners.fp_nas.sweep import ENTROPIES, FpNasSweep

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIRST = 14
"""K of the first step, for all but FS K=4."""
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
    """What is swept over, lambda being such that K begins with 14 where the distribution has this entropy."""
    quarter = (FIRST + 0.06) / nats
    adaptive = [
        {"name": "FS K=14", "samples": {"count": FIRST}, "distribution": "joint"},
        {"name": "FS K=4", "samples": {"count": 4}, "distribution": "joint"},
        {"name": "AS 1/4, joint", "samples": {"per_nat": quarter}, "distribution": "joint"},
        {"name": "AS 1/4, mixed", "samples": {"per_nat": quarter}, "distribution": "mixed"},
    ]
    if not full:
        return adaptive
    others = [
        {"name": f"AS {name}, joint", "samples": {"per_nat": quarter * share}, "distribution": "joint"}
        for name, share in (("1/16", 0.25), ("1/8", 0.5), ("1/2", 2.0))
    ]
    return [*adaptive, *others, {**adaptive[-1], "name": "AS 1/4, factorised", "distribution": "factorised"}]


def recipe(space: str, seeds: Sequence[int], full: bool, changes: Sequence[str]) -> Recipe:
    """The sweep's, in which every schedule is searched with every seed."""
    if space == "nas-bench-macro":
        small = load(**MACRO["space"], num_classes=10)
        every = small.costs().total(torch.tensor(list(product(*small.values()))))
        read = Recipe.read({**MACRO, "budget": {"macs": {"max": float(every["macs"].median())}}}, changes)
    else:
        own = ["method.name=fp-nas-sweep", "method.sweep=[{name: none}]", "method.fit_each=true"]
        read = Recipe.read("fp-nas-digits", [*own, *changes])
    nats = math.log(plan(read).space.size())
    sweep = json.dumps(schedules(nats, full))
    own = [f"method.sweep={sweep}", f"method.seeds={list(seeds)}", "method.converged_nats=0"]
    return Recipe.read(read.json_value(), own)


def rows(found: pd.DataFrame) -> Iterator[list[str]]:
    base = found[found["schedule"] == "FS K=14"]
    for name, trials in found.groupby("schedule", sort=False):
        yield [
            str(name),
            f"{trials['drawn'].mean():,.0f} ({100 * (trials['drawn'].mean() / base['drawn'].mean() - 1):+.0f} %)",
            f"{trials['seconds'].mean():.0f} ({base['seconds'].mean() / trials['seconds'].mean():.2f}x)",
            f"{trials['entropy'].mean():.1f}",
            f"{trials['macs'].mean() / 1e6:.2f}",
            _spread(trials["top1"]),
            _spread(trials["true"]),
        ]


def _spread(values: pd.Series[float]) -> str:
    return f"{values.mean():.2f} ± {values.std(ddof=0):.2f}"


def plot(epochs: pd.DataFrame) -> Figure:
    """Entropy and K by epoch, the mean over the seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    panels = figure.subplots(1, 2)
    for panel, key, label in zip(panels, ("entropy", "samples"), ("entropy (nats)", "K"), strict=True):
        for name, trials in epochs.groupby("schedule", sort=False):
            mean = trials.groupby("epoch")[key].mean()
            panel.plot(mean.index, mean, label=name)
        panel.set(xlabel="epoch", ylabel=label)
    panels[0].legend(fontsize=8)
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fp_nas.sample_schedules", description=__doc__)
    parser.add_argument("--space", choices=["nas-bench-macro", "fbnetv2-f"], default="nas-bench-macro")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--full", action="store_true", help="more lambdas and distributions")
    parser.add_argument("--out", type=Path, default=Path("runs/sample-schedules"))
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="PATH=VALUE")
    given = parser.parse_args(arguments)
    asked = recipe(given.space, given.seeds, given.full, given.changes)
    folder = given.out / f"{given.space}-{asked.identity()[:6]}"
    raynas.run(asked, folder, reporter=Live())
    found = pd.read_csv(folder / FpNasSweep.table_name)
    if given.space == "nas-bench-macro":
        oracle = TableOracle(load("nas-bench-macro"))
        evaluated = oracle.evaluate([oracle.space.parse(text) for text in found["architecture"]])
        found["true"] = [evaluation.top1 for evaluation in evaluated]
    else:
        found["true"] = found["standalone_top1"]
    epochs = pd.read_csv(folder / ENTROPIES)
    heading("How many samples, of which distribution", ", ".join(map(str, given.seeds)))
    method = asked.method
    print(
        f"{given.space}: {method['epochs']} epochs, of which {method['warmup_epochs']} warm up, and a mixed "
        f"distribution is joint from epoch {method['joint_from']} on; its rate is "
        f"{method['architecture_learning_rate']}, the likelihood scale {method['likelihood_scale']}. Means over the "
        "seeds; accuracies in per cent, ± standard deviation.\n"
    )
    accuracy = "true accuracy" if given.space == "nas-bench-macro" else "trained alone"
    table(("schedule", "drawn", "seconds", "last entropy", "M macs", "one-shot", accuracy), rows(found))
    picture(plot(epochs), f"sample_schedules_{given.space}", "Figures 3 and 4: entropy and K by epoch")


if __name__ == "__main__":
    main()
