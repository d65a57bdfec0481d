"""How long should FTSO search, with which operators, and how does it compare with DARTS (FTSO table 3, figure 3)?

    python -m benchmarks.ftso.tables [--seeds 0 1 2] [--without "DARTS, second order"] [--set PATH=VALUE]
        [--out runs/ftso]

The networks have three cells of 8 channels at 16 pixels. Of 2,000 images of CIFAR-10, half train the architecture. The
chosen network is trained stand-alone for 10 epochs at the searched size. The command is one `sweep` run under `--out`.
The seconds of a search are those of its training steps alone, side by side in this run. A seed decides the images, the
search and the training; `cell_controls` prints how much repeats of one network differ on the same images.

Prints one table: multiply-adds and seconds of each search, and the accuracy and costs of its network.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

import raynas
from benchmarks.common.arguments import add_run_options, add_seeds, command_parser, parse_run_options
from benchmarks.common.report import print_heading, print_table, spread
from benchmarks.common.shared_data import CIFAR10
from benchmarks.ftso.counts import CountedSearch, step_cost
from raynas.recipe.recipe import Recipe
from raynas.reporting.terminal import Live
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
BASE = "DARTS, first order"
"""The search whose multiply-adds and seconds the shares are of."""
SEARCH_EPOCHS = 10
"""Epochs of DARTS, PC-DARTS and FTSO's operator search."""


def ftso(**settings: Any) -> dict[str, Any]:
    """Return the changes of the recipe for one search of FTSO."""
    return {**PARTIAL, **{f"method.{key}": value for key, value in settings.items()}}


def settings() -> list[dict[str, Any]]:
    """Return the searches of table 3 and figure 3. A search of FTSO differs from the first in one setting.

    Several operators compete with `none` too, so that two make the paper's `3op`.
    """
    steps = [(f"{steps} steps", ftso(topology_steps=steps)) for steps in (1, 2, 5)]
    epochs = [(f"{epochs} epochs", ftso(topology_epochs=epochs)) for epochs in (2, 5, 20)]
    operators = [
        ("topology by max pool", ftso(topology_operators=[POOL])),
        ("topology by sep3", ftso(topology_operators=[SEPARABLE])),
        ("topology by 3op", ftso(topology_operators=[SKIP, POOL])),
        ("topology by 4op", ftso(topology_operators=[SKIP, POOL, SEPARABLE])),
    ]
    replacements = [
        (f"replaced by {name}", ftso(replacement_operator=name)) for name in ("sep_conv_5x5", "dil_conv_3x3", POOL)
    ]
    second = ("operators searched", ftso(strategy="search", operator_epochs=SEARCH_EPOCHS))
    ours = [("FTSO, 1 epoch", ftso()), *steps, *epochs, *operators, *replacements, second]
    long = {"training.epochs": SEARCH_EPOCHS}
    rivals = [
        (BASE, {"method": {"name": "darts"}, **long}),
        ("DARTS, second order", {"method": {"name": "darts", "order": 2}, **long}),
        ("PC-DARTS", {"method": {"name": "pc-darts", "warmup_epochs": 2}, **long, **PARTIAL}),
    ]
    return [{"name": name, "set": changes} for name, changes in (*ours, *rivals)]


def step_macs(name: str) -> int:
    """Return the multiply-adds of a training step of the first search, for one image of each stream (`counts`)."""
    setting = next(trial["set"] for trial in settings() if trial["name"] == name)
    partial = setting.get("space.partial", 1)
    space = load("darts", resolution=16, **SPACE, partial=partial)
    if "method" in setting:
        order = setting["method"].get("order", 1)
        objective = Mixture(order=order, edges="softmax" if partial > 1 else "none")
        return step_cost(CountedSearch(name, space, objective)).step
    topologies = CellTopologies(space, setting.get("method.topology_operators", [SKIP]), None)
    return step_cost(CountedSearch(name, topologies.simplest, Mixture.model_validate(dict(topologies.learns)))).step


def search_seconds(folder: Path) -> tuple[float, int]:
    """Return the seconds of a trial's searches, and the epochs of the first."""
    seconds, first = 0.0, 0
    for step, epochs in training_histories(RunFolder(folder)).items():
        if any(part in step for part in ("supernet", "topology", "operators")):
            seconds += sum(row["seconds"] for row in epochs)
            first = first or len(epochs)
    return seconds, first


def rows(table: pd.DataFrame, out: Path) -> Iterator[list[str]]:
    """Yield the cells of each search, means over its trials. Without DARTS's trials, seconds have no share."""
    seconds_of = table["folder"].map(lambda folder: search_seconds(out / folder)[0]).groupby(table["setting"]).mean()
    macs = step_macs(BASE)
    for name, trials in table.groupby("setting", sort=False):
        seconds = seconds_of[name]
        yield [
            str(name),
            f"{step_macs(str(name)) / 1e6:.1f} (1/{macs / step_macs(str(name)):.1f})",
            f"{seconds:.1f} (1/{seconds_of[BASE] / seconds:.1f})" if BASE in seconds_of else f"{seconds:.1f}",
            spread(trials["standalone_top1"], 1),
            " ".join(f"{value:.1f}" for value in trials["standalone_top1"]),
            f"{trials['params'].mean() / 1e3:.1f}",
            f"{trials['macs'].mean() / 1e6:.2f}",
        ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_parser("ftso.tables", __doc__)
    add_seeds(parser, [0, 1, 2])
    names = [setting["name"] for setting in settings()]
    text = "searches of the table to leave out"
    parser.add_argument("--without", nargs="+", default=[], metavar="NAME", choices=names, help=text)
    add_run_options(parser, "runs/ftso")
    options = parse_run_options(parser, arguments)
    searches = [setting for setting in settings() if setting["name"] not in options.without]
    method = {"name": "sweep", "of": {"name": "ftso"}, "settings": searches, "seeds": options.seeds, "fit_each": True}
    sweep = Recipe.read(RECIPE, [f"method={json.dumps(method)}", *options.changes])
    raynas.run(sweep, options.out, reporter=Live())
    print_heading("FTSO's searches beside DARTS's and PC-DARTS's", ", ".join(map(str, options.seeds)))
    print("- `M macs of a step`: multiply-adds of a training step of the (first) search for one image of each stream")
    print("- `search seconds`: the whole search; in brackets the share of first-order DARTS's")
    print("- `stand-alone`, `by seed`: accuracy of the chosen network on the test images in per cent\n")
    columns = ("search", "M macs of a step", "search seconds", "stand-alone", "by seed", "k parameters", "M macs")
    print_table(columns, rows(pd.read_csv(options.out / Sweep.table_name), options.out))


if __name__ == "__main__":
    main()
