"""FTSO and DARTS on NATS-Bench (FTSO section 4.3, table 2): the cells that they find, and what those are worth.

    python -m benchmarks.ftso_nats [--seeds 20] [--darts-seeds 3] [--set PATH=VALUE] [--out runs/ftso-nats]

Reduced supernets: one cell a stage, 8 channels, 16 pixels, 2,000 images of CIFAR-10, half of which move the
architecture. FTSO's topology is searched for one step and for one epoch, DARTS by the first and the second order for 50
epochs. What a cell is worth is its accuracy in the benchmark's own table after 200 epochs. Two `sweep` runs under
`--out`: the command goes on with what is not finished.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

import raynas
from benchmarks.nas_bench_macro import CIFAR10
from benchmarks.printing import heading, picture, table
from raynas import resources
from raynas.progress import Live
from raynas.recipe import Recipe
from raynas.results import EvaluationTable
from raynas.run_folder import RunFolder
from tuners.sweep import TABLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRUTH = Path(__file__).parents[2] / "shared" / "data" / "nasbench201_cifar10.csv"
PRINTED = 54.30
"""The true accuracy of the cell of skip connections alone, which FTSO's table 2 has for DARTS."""
RECIPE: dict[str, Any] = {
    "method": "sweep",
    "space": {"name": "nats-bench", "cells": 1, "channels": 8, "resolution": 16, "affine": False},
    "data": {"name": "npz", "path": str(CIFAR10), "fraction": 0.2, "validation": 0.5, "augment": "crop-flip"},
    "training": {"batch_size": 64, "learning_rate": 0.025, "weight_decay": 5e-4, "schedule": "cosine"},
    "evaluation": {"recalibration_images": 256, "recalibration_batch_size": 128, "batch_size": 500},
    "fit": {"epochs": 1, "steps": 1, "batch_size": 64, "learning_rate": 0.1},
}
FTSO = [
    {"name": "one step", "set": {"method.topology_steps": 1}},
    {"name": "one epoch", "set": {}},
]
DARTS = [
    {"name": "DARTS, first order", "set": {"method.order": 1}},
    {"name": "DARTS, second order", "set": {"method.order": 2}},
]


def recipe(of: dict[str, Any], settings: list[dict[str, Any]], seeds: int, changes: Sequence[str]) -> Recipe:
    method = {"name": "sweep", "of": of, "settings": settings, "seeds": list(range(seeds))}
    return Recipe.read(RECIPE, [f"method={json.dumps(method)}", *changes])


def truth() -> dict[str, float]:
    """The benchmark's accuracies after 200 epochs, in per cent, by the text of the cell."""
    rows = pd.read_csv(TRUTH)
    return dict(zip(rows["arch"], rows["cifar10_test_acc"].astype(float), strict=True))


def cell(architecture: str) -> str:
    return architecture.partition(": ")[2]


def found_rows(found: pd.DataFrame, true: dict[str, float]) -> Iterator[list[str]]:
    for setting, trials in found.groupby("setting", sort=False):
        for architecture, same in trials.groupby("architecture"):
            name = cell(str(architecture))
            untouched = int(same["untouched"].sum())
            yield [str(setting), name, f"{len(same)} of {len(trials)}", f"{true[name]:.2f}", str(untouched)]


def epochs_of(folder: Path, true: dict[str, float]) -> pd.DataFrame:
    """DARTS's cell after each epoch of every trial, with its true accuracy and share of skip connections."""
    trials = pd.read_csv(folder / TABLE)
    tables = []
    for trial in trials.to_dict("records"):
        rows = EvaluationTable(RunFolder(folder / trial["folder"])).read("supernet")
        told = rows.assign(setting=trial["setting"], seed=trial["seed"])
        tables.append(told.assign(true=[true[cell(text)] for text in rows["architecture"]]))
    return pd.concat(tables, ignore_index=True)


def collapse_rows(epochs: pd.DataFrame) -> Iterator[list[str]]:
    """Every fifth epoch."""
    last = epochs["iteration"].max() + 1
    for epoch in sorted({1, *range(5, last, 5), last}):
        row = [str(epoch)]
        for _, trials in epochs[epochs["iteration"] == epoch - 1].groupby("setting", sort=False):
            row += [" ".join(f"{value:.2f}" for value in trials["true"]), f"{100 * trials['skips'].mean():.0f}"]
        yield row


def plot(epochs: pd.DataFrame) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.8), layout="constrained")
    panels = figure.subplots(1, 2)
    for colour, (name, trials) in enumerate(epochs.groupby("setting", sort=False)):
        for _, trial in trials.groupby("seed"):
            panels[0].plot(trial["iteration"] + 1, trial["true"], color=f"C{colour}", lw=1, alpha=0.7)
        mean = trials.groupby("iteration")["skips"].mean()
        panels[1].plot(mean.index + 1, 100 * mean, color=f"C{colour}", label=name)
    panels[0].axhline(PRINTED, color="black", ls=":", lw=1)
    panels[0].set(xlabel="epoch", ylabel="true accuracy of the cell (%)")
    panels[1].set(xlabel="epoch", ylabel="skip connections (%)", ylim=(0, 100))
    panels[1].legend()
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ftso_nats", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="of FTSO")
    parser.add_argument("--darts-seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=50, help="of DARTS")
    parser.add_argument("--out", type=Path, default=Path("runs/ftso-nats"))
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="PATH=VALUE")
    given = parser.parse_args(arguments)
    darts = {"name": "darts", "inputs": None}
    with resources.connected():
        raynas.run(recipe({"name": "ftso"}, FTSO, given.seeds, given.changes), given.out / "ftso", reporter=Live())
        long = [f"training.epochs={given.epochs}", *given.changes]
        raynas.run(recipe(darts, DARTS, given.darts_seeds, long), given.out / "darts", reporter=Live())
    true = truth()
    heading("FTSO and DARTS on NATS-Bench", f"0 to {given.seeds - 1}; of DARTS 0 to {given.darts_seeds - 1}")
    found = pd.read_csv(given.out / "ftso" / TABLE)
    mean = ", ".join(
        f"{name}: {trials['architecture'].map(lambda text: true[cell(text)]).mean():.2f}"
        for name, trials in found.groupby("setting", sort=False)
    )
    print(f"The cells that FTSO finds, and their true accuracy in per cent (means over the seeds: {mean}).\n")
    columns = ("search", "cell", "found by", "true accuracy", "topology of the untouched initial weights")
    table(columns, found_rows(found, true))
    epochs = epochs_of(given.out / "darts", true)
    print(f"DARTS's cell as the epochs grow: its true accuracy by seed; the paper's table 2 prints {PRINTED:.2f}.\n")
    names = [str(name) for name in epochs["setting"].drop_duplicates()]
    table(("epoch", *(part for name in names for part in (name, "% skips"))), collapse_rows(epochs))
    picture(plot(epochs), "ftso_nats", "DARTS's cell by epoch: true accuracy, and share of skip connections")


if __name__ == "__main__":
    main()
