"""FTSO table 3 and figure 3 at small size: topology operators, how long to search, replacing operators, DARTS beside.

    python -m benchmarks.ftso.tables [--seeds 0] [--set PATH=VALUE] [--out runs/ftso]

Three cells of 8 channels at 16 pixels and 2,000 images of CIFAR-10, half of which move the architecture; what is found
is trained alone for 10 epochs at the searched size. One `sweep` run under `--out`: the command goes on with what is not
finished. A search's seconds are those of its training steps alone, side by side in this run.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

import raynas
from benchmarks.common.report import heading, table
from benchmarks.ftso.counts import Search, step_cost
from benchmarks.pad_nas.nas_bench_macro import CIFAR10
from raynas.recipe.recipe import Recipe
from raynas.storage.progress import Live
from raynas.storage.run_folder import RunFolder
from raynas.storage.step_records import training_histories
from search_spaces import load
from tuners.darts.weighted_mixture import Mixture
from tuners.ftso.topologies import CellTopologies
from tuners.sweep import Sweep

SPACE: dict[str, Any] = {"cells": 3, "channels": 8, "operations": 8, "subset": False, "cell_types": "two"}
PARTIAL = {"space.partial": 4}
SKIP, POOL, SEPARABLE = "skip_connect", "max_pool_3x3", "sep_conv_3x3"
RECIPE: dict[str, Any] = {
    "method": "sweep",
    "space": {"name": "darts", "resolution": 16, **SPACE},
    "data": {"name": "npz", "path": str(CIFAR10), "fraction": 0.2, "validation": 0.5, "augment": "crop-flip"},
    "training": {"batch_size": 64, "learning_rate": 0.025, "weight_decay": 3e-4, "schedule": "cosine"},
    "evaluation": {"recalibration_images": 256, "recalibration_batch_size": 128, "batch_size": 500},
    "fit": {"epochs": 10, "batch_size": 64, "learning_rate": 0.05, "weight_decay": 3e-4, "schedule": "cosine"},
}
SEARCH_EPOCHS = 10
"""Of DARTS, PC-DARTS and FTSO's operator search."""


def ftso(**settings: Any) -> dict[str, Any]:
    return {**PARTIAL, **{f"method.{key}": value for key, value in settings.items()}}


def settings() -> list[dict[str, Any]]:
    """Table 3 and figure 3; all trials of FTSO but the first few differ from it in one setting."""
    steps = [(f"{steps} steps", ftso(topology_steps=steps)) for steps in (1, 2, 5)]
    epochs = [(f"{epochs} epochs", ftso(topology_epochs=epochs)) for epochs in (2, 5, 20)]
    operators = [
        ("topology by max pool", ftso(operators=[POOL])),
        ("topology by sep3", ftso(operators=[SEPARABLE])),
        ("topology by three", ftso(operators=[SKIP, POOL, SEPARABLE])),
        ("topology by four", ftso(operators=[SKIP, POOL, SEPARABLE, "dil_conv_3x3"])),
    ]
    replacements = [(f"replaced by {name}", ftso(replacement=name)) for name in ("sep_conv_5x5", "dil_conv_3x3", POOL)]
    second = ("operators searched", ftso(strategy="search", operator_epochs=SEARCH_EPOCHS))
    ours = [("FTSO, 1 epoch", ftso()), *steps, *epochs, *operators, *replacements, second]
    long = {"training.epochs": SEARCH_EPOCHS}
    rivals = [
        ("DARTS, first order", {"method": {"name": "darts"}, **long}),
        ("DARTS, second order", {"method": {"name": "darts", "order": 2}, **long}),
        ("PC-DARTS", {"method": {"name": "pc-darts", "warm_epochs": 2}, **long, **PARTIAL}),
    ]
    return [{"name": name, "set": changes} for name, changes in (*ours, *rivals)]


def step_macs(name: str) -> int:
    """What a step of the first search computes for one image of each stream, in multiply-adds (`ftso_counts`)."""
    setting = next(one["set"] for one in settings() if one["name"] == name)
    partial = setting.get("space.partial", 1)
    space = load("darts", resolution=16, **SPACE, partial=partial)
    if "method" in setting:
        order = setting["method"].get("order", 1)
        objective = Mixture(order=order, edges="softmax" if partial > 1 else "none")
        return step_cost(Search(name, space, objective)).step
    topologies = CellTopologies(space, setting.get("method.operators", [SKIP]), None)
    return step_cost(Search(name, topologies.simplest, Mixture.model_validate(dict(topologies.learns)))).step


def search_seconds(folder: Path) -> tuple[float, int]:
    """How long a trial's searches took, and of how many epochs the first was."""
    seconds, first = 0.0, 0
    for step, epochs in training_histories(RunFolder(folder)).items():
        if any(part in step for part in ("supernet", "topology", "operators")):
            seconds += sum(row["seconds"] for row in epochs)
            first = first or len(epochs)
    return seconds, first


def rows(found: pd.DataFrame, out: Path) -> Iterator[list[str]]:
    base = found[found["setting"] == "DARTS, first order"]
    darts = sum(search_seconds(out / folder)[0] for folder in base["folder"]) / len(base)
    macs = step_macs("DARTS, first order")
    for name, trials in found.groupby("setting", sort=False):
        seconds = sum(search_seconds(out / folder)[0] for folder in trials["folder"]) / len(trials)
        yield [
            str(name),
            f"{step_macs(str(name)) / 1e6:.1f} (1/{macs / step_macs(str(name)):.1f})",
            f"{seconds:.1f} (1/{darts / seconds:.1f})",
            " ".join(f"{value:.1f}" for value in trials["standalone_top1"]),
            f"{trials['params'].mean() / 1e3:.1f}",
            f"{trials['macs'].mean() / 1e6:.2f}",
        ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ftso.tables", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, default=Path("runs/ftso"))
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="PATH=VALUE")
    given = parser.parse_args(arguments)
    method = {"name": "sweep", "of": {"name": "ftso"}, "settings": settings(), "seeds": given.seeds, "fit_each": True}
    asked = Recipe.read(RECIPE, [f"method={json.dumps(method)}", *given.changes])
    raynas.run(asked, given.out, reporter=Live())
    heading("FTSO's searches beside DARTS's and PC-DARTS's", ", ".join(map(str, given.seeds)))
    print(
        "M multiply-adds of a step of the (first) search for one image of each stream, and seconds of the whole "
        "search, as shares of first-order DARTS's; the network found, trained alone: accuracy on the test images in "
        "per cent by seed, parameters, multiply-adds.\n"
    )
    columns = ("search", "M macs a step", "search seconds", "alone, by seed", "k parameters", "M macs")
    table(columns, rows(pd.read_csv(given.out / Sweep.table_name), given.out))


if __name__ == "__main__":
    main()
