"""Do a larger space and searched splits give FP-NAS better networks (tables 4 and 7)? On the digits.

    python -m benchmarks.fp_nas.spaces [--seeds 0 1] [--set PATH=VALUE] [--out runs/fp-nas-spaces]

The networks have three rows of two blocks at 8 pixels.

- Table 4 searches `fbnetv2-f` (one choice for each row) and `fbnetv2-f-fine` (one choice for each block). Each is
  searched with 14 samples for each training step, and with 0.83 samples for each nat: 14 at the start in `fbnetv2-f`,
  like the paper's quarter. Nothing else changes.
- Table 7 searches `fbnetv2-f++`, and gives the networks of `fbnetv2-f` attention with 2 and with 4 splits.

Every network is trained stand-alone. The sweep and the variants have their run folders under `--out`.

Prints one table: architectures drawn, last entropy, accuracies and costs.
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
from raynas.cluster import ray_session
from raynas.networks.fit import fit_architecture, fit_recipe
from raynas.recipe.recipe import Recipe
from raynas.reporting.terminal import Live
from search_spaces import load
from search_spaces.families.uniform_splits import with_uniform_splits
from tuners.sweep import Sweep

RECIPE = "fp-nas-digits"
FIXED, ADAPTIVE = {"fixed": 14}, {"per_nat": 0.83}
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
    """Return the settings of the sweep."""
    spaces = ("fbnetv2-f", "fbnetv2-f-fine")
    schedules = (("FS K=14", FIXED), ("AS 1/4", ADAPTIVE))
    searches = [(space, name, samples) for space in spaces for name, samples in schedules]
    return [
        {"name": f"{space}, {name}", "set": {"space.name": space, "method.sample_size": samples}}
        for space, name, samples in [*searches, ("fbnetv2-f++", *schedules[1])]
    ]


def recipe(seeds: Sequence[int], changes: Sequence[str]) -> Recipe:
    """Return the recipe of the sweep: every setting with every seed."""
    small = Recipe.read(RECIPE, [f"{path}={json.dumps(value)}" for path, value in SIZE.items()])
    swept = {"name": "sweep", "of": small.method, "settings": settings(), "seeds": list(seeds), "fit_each": True}
    return Recipe.read(small.json_value(), [f"method={json.dumps(swept)}", *changes])


def train_with_uniform_splits(sweep: Recipe, table: pd.DataFrame, out: Path) -> list[dict[str, Any]]:
    """Train the networks of `fbnetv2-f` stand-alone, with uniform splits. Returns rows as those of the sweep."""
    space_settings = {key: value for key, value in sweep.space.items() if key != "name"}
    space = load("fbnetv2-f", **space_settings, num_classes=10)
    fit = [f"fit.{key}={json.dumps(value)}" for key, value in sweep.fit.json_value().items() if value is not None]
    of_space = [f"space.{key}={json.dumps(value)}" for key, value in space_settings.items()]
    of_data = [f"data.name={sweep.data.name}", f"data.validation={sweep.data.validation}"]
    variants = []
    for row in table[table["setting"] == "fbnetv2-f, AS 1/4"].to_dict("records"):
        for splits in SPLITS:
            _, architecture = with_uniform_splits(space, space.parse(row["architecture"]), splits)
            folder = out / f"{splits}-splits-seed-{row['seed']}"
            recipe = fit_recipe(str(architecture), None, [*fit, *of_space, *of_data])
            network = fit_architecture(str(architecture), folder, recipe, Live())
            figures = {"standalone_top1": network["top1"], "macs": network["macs"], "params": network["params"]}
            variants.append({"setting": f"uniform {splits} splits", "seed": row["seed"], **figures})
    return variants


def rows(table: pd.DataFrame) -> Iterator[list[str]]:
    """Yield the cells of each setting, means over its trials."""
    for name, trials in table.groupby("setting", sort=False):
        searched = trials["total_samples"].notna().all()
        yield [
            str(name),
            f"{trials['total_samples'].mean():,.0f}" if searched else "",
            f"{trials['entropy'].mean():.1f}" if searched else "",
            f"{trials['top1'].mean():.1f}" if searched else "",
            spread(trials["standalone_top1"], 2),
            f"{trials['macs'].mean() / 1e3:.0f}",
            f"{trials['params'].mean() / 1e3:.1f}",
        ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_parser("fp_nas.spaces", __doc__)
    add_seeds(parser, [0, 1])
    add_run_options(parser, "runs/fp-nas-spaces")
    options = parse_run_options(parser, arguments)
    sweep = recipe(options.seeds, options.changes)
    with ray_session.connect():
        raynas.run(sweep, options.out / "sweep", reporter=Live())
        table = pd.read_csv(options.out / "sweep" / Sweep.table_name)
        variants = pd.DataFrame(train_with_uniform_splits(sweep, table, options.out))
        table = pd.concat([table, variants], ignore_index=True)
    print_heading("FP-NAS in larger spaces, and with split attention", ", ".join(map(str, options.seeds)))
    print("One-shot and stand-alone accuracy in per cent, mean ± standard deviation.\n")
    columns = ("space and samples", "drawn", "last entropy", "one-shot", "stand-alone", "k macs", "k parameters")
    print_table(columns, rows(table))


if __name__ == "__main__":
    main()
