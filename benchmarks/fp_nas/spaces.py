"""FP-NAS tables 4 and 7 on the digits: a larger space with the same settings, and searched against uniform splits.

    python -m benchmarks.fp_nas.spaces [--seeds 0 1] [--set PATH=VALUE] [--out runs/fp-nas-spaces]

Three rows of two blocks at 8 pixels. Table 4 searches `fbnetv2-f` (a choice a row) and `fbnetv2-f-fine` (a choice a
block) with 14 samples a step and with 0.83 samples a nat, which in the first are 14 at the start, as the paper's
quarter is; nothing else is changed. Table 7 searches `fbnetv2-f++`, and gives what was found in `fbnetv2-f` attention
of 2 and of 4 splits. Everything found is trained alone. One `sweep` run and the variants' own under `--out`: the
command goes on with what is not finished.
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
from raynas.cluster import ray_session
from raynas.networks.fit import fit_architecture
from raynas.recipe.recipe import Recipe
from raynas.storage.progress import Live
from search_spaces import load
from search_spaces.elastic.uniform_splits import with_uniform_splits
from tuners.sweep import Sweep

RECIPE = "fp-nas-digits"
FIXED, ADAPTIVE = {"count": 14}, {"per_nat": 0.83}
SIZE = {
    "method.epochs": 48,
    "method.warmup_epochs": 32,
    "method.joint_from": 40,
    "method.architecture_learning_rate": 0.06,
    "space.repeats": [0, 2, 0, 2, 0, 2, 0, 0, 0, 0],
    "budget.macs": {"max": 1_000_000},
    "scale.train.workers": 1,
}
SPLITS = (2, 4)


def settings() -> list[dict[str, Any]]:
    spaces = ("fbnetv2-f", "fbnetv2-f-fine")
    schedules = (("FS K=14", FIXED), ("AS 1/4", ADAPTIVE))
    asked = [(space, name, samples) for space in spaces for name, samples in schedules]
    return [
        {"name": f"{space}, {name}", "set": {"space.name": space, "method.samples": samples}}
        for space, name, samples in [*asked, ("fbnetv2-f++", *schedules[1])]
    ]


def recipe(seeds: Sequence[int], changes: Sequence[str]) -> Recipe:
    small = Recipe.read(RECIPE, [f"{path}={json.dumps(value)}" for path, value in SIZE.items()])
    swept = {"name": "sweep", "of": small.method, "settings": settings(), "seeds": list(seeds), "fit_each": True}
    return Recipe.read(small.json_value(), [f"method={json.dumps(swept)}", *changes])


def variants(asked: Recipe, found: pd.DataFrame, out: Path) -> list[dict[str, Any]]:
    """What was found in `fbnetv2-f` with uniform splits, trained alone."""
    own = {key: value for key, value in asked.space.items() if key != "name"}
    space = load("fbnetv2-f", **own, num_classes=10)
    fit = [f"fit.{key}={json.dumps(value)}" for key, value in asked.fit.json_value().items() if value is not None]
    there = [f"space.{key}={json.dumps(value)}" for key, value in own.items()]
    trained = []
    for row in found[found["setting"] == "fbnetv2-f, AS 1/4"].to_dict("records"):
        for splits in SPLITS:
            _, architecture = with_uniform_splits(space, space.parse(row["architecture"]), splits)
            folder = out / f"{splits}-splits-seed-{row['seed']}"
            changes = [*fit, *there, f"data.name={asked.data.name}", f"data.validation={asked.data.validation}"]
            fitted = fit_architecture(str(architecture), folder, changes, Live())
            told = {"standalone_top1": fitted["top1"], "macs": fitted["macs"], "params": fitted["params"]}
            trained.append({"setting": f"uniform {splits} splits", "seed": row["seed"], **told})
    return trained


def rows(found: pd.DataFrame) -> Iterator[list[str]]:
    for name, trials in found.groupby("setting", sort=False):
        alone = trials["standalone_top1"]
        searched = trials["drawn"].notna().all()
        yield [
            str(name),
            f"{trials['drawn'].mean():,.0f}" if searched else "",
            f"{trials['entropy'].mean():.1f}" if searched else "",
            f"{trials['top1'].mean():.1f}" if searched else "",
            f"{alone.mean():.2f} ± {alone.std(ddof=0):.2f}",
            f"{trials['macs'].mean() / 1e3:.0f}",
            f"{trials['params'].mean() / 1e3:.1f}",
        ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fp_nas.spaces", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--out", type=Path, default=Path("runs/fp-nas-spaces"))
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="PATH=VALUE")
    given = parser.parse_args(arguments)
    asked = recipe(given.seeds, given.changes)
    with ray_session.connect():
        raynas.run(asked, given.out / "sweep", reporter=Live())
        found = pd.read_csv(given.out / "sweep" / Sweep.table_name)
        found = pd.concat([found, pd.DataFrame(variants(asked, found, given.out))], ignore_index=True)
    heading("FP-NAS in larger spaces, and with split attention", ", ".join(map(str, given.seeds)))
    print("Accuracies in per cent: one-shot, and of the network trained alone, mean ± standard deviation.\n")
    columns = ("space and samples", "drawn", "last entropy", "one-shot", "trained alone", "k macs", "k parameters")
    table(columns, rows(found))


if __name__ == "__main__":
    main()
