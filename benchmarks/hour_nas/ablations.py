"""What do the number of proposals, the prior and the sampling do, at the size of the digits (HourNAS tables 1, 4, 5)?

    python -m benchmarks.hour_nas.ablations [--seeds 0 1] [--set PATH=VALUE] [--out runs/hour-nas-ablations]

Every search is a run of the recipe `hour-nas-digits` with one changed setting, in its own run folder under `--out`. The
chosen network is trained stand-alone. A search without the prior has all epochs in its one stage. As a control, random
networks within the targets are trained stand-alone, three for each seed.

Prints a table of the searches (training seconds of one worker, costs, accuracies), and a table of the numbers of
proposals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import raynas
from benchmarks.common.arguments import add_run_options, add_seeds, command_parser, parse_run_options
from benchmarks.common.report import print_heading, print_table, spread
from raynas.cluster import ray_session
from raynas.networks.fit import fit_architecture, fit_recipe, fit_run
from raynas.recipe.recipe import Recipe
from raynas.reporting.terminal import Live
from raynas.storage.run_folder import RunFolder
from raynas.storage.step_records import training_histories
from raynas.study.run_plan import plan
from tuners.hour_nas.sweep import HourNasSweep

RECIPE = "hour-nas-digits"
PROPOSALS = (1, 2, 4, 8, 16)
RANDOM = 3
"""Random networks for each seed."""


def variants(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Return the changes of the recipe's method, for each search."""
    epochs = recipe.method["vital_epochs"] + recipe.method["epochs"]
    return {
        "HourNAS": {},
        "without the prior (table 4)": {"vital_first": False, "epochs": epochs},
        "Gumbel-softmax (table 5)": {"sampling": "gumbel-softmax"},
    }


def search(folder: Path, changes: Sequence[str], method: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Search, and train the chosen network stand-alone.

    Returns:
        The chosen row, `standalone` accuracy in per cent, and training `seconds`.
    """
    own_changes = [f"method.{key}={value}" for key, value in method.items()]
    outcome = raynas.run(RECIPE, folder, [*changes, *own_changes, f"seed={seed}"], reporter=Live())
    standalone = fit_run(str(folder), [], [], Live())[0]
    seconds = sum(
        epoch["seconds"]
        for step, epochs in training_histories(RunFolder(folder)).items()
        if "vital" in step
        for epoch in epochs
    )
    return {**outcome.best, "standalone": standalone["top1"], "seconds": seconds}


def random_networks(folder: Path, changes: Sequence[str], seed: int) -> Iterator[dict[str, Any]]:
    """Train random networks within the targets stand-alone. Their rows have no one-shot accuracy and no search."""
    planned = plan(Recipe.read(RECIPE, [*changes, f"seed={seed}"]))
    generator = np.random.default_rng(seed)
    of_fit = [change for change in changes if not change.startswith(("method.", "training.", "budget."))]
    for number in range(RANDOM):
        text = str(planned.recipe.budget.example(planned.space, planned.costs, generator))
        recipe = fit_recipe(text, RECIPE, of_fit).model_copy(update={"seed": seed})
        network = fit_architecture(text, f"{folder}-{number}", recipe, Live())
        yield {**network, "standalone": network["top1"], "top1": None, "seconds": 0}


def sweep(folder: Path, changes: Sequence[str], seeds: Sequence[int]) -> pd.DataFrame:
    """Run table 1: the second stage for each number of proposals, after one first stage."""
    method = ["method.name=hour-nas-sweep", f"method.sweep={list(PROPOSALS)}", f"method.seeds={list(seeds)}"]
    raynas.run(RECIPE, folder, [*changes, *method, "method.fit_each=true"], reporter=Live())
    return pd.read_csv(folder / HourNasSweep.table_name)


def rows(searches: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[list[str]]:
    """Yield the cells of each search, means over its runs."""
    for name, runs in searches.items():
        cells = [
            f"{np.mean([run[key] for run in runs]) / unit:.{digits}f}"
            for key, unit, digits in (("seconds", 1, 0), ("macs", 1e6, 2), ("params", 1e3, 1))
        ]
        one_shot = [run["top1"] for run in runs if run["top1"] is not None]
        accuracies = [spread(one_shot, 1) if one_shot else "-", spread([run["standalone"] for run in runs], 1)]
        yield [name, *cells, *accuracies]


def sweep_rows(proposals: pd.DataFrame) -> Iterator[list[str]]:
    """Yield the cells of each number of proposals, means over its trials."""
    for m, trials in proposals.groupby("m"):
        yield [
            str(m),
            spread(trials["top1"], 1),
            spread(trials["standalone_top1"], 1),
            *(
                f"{100 * trials[f'{resource}_off_{temperature}'].mean():.1f}"
                for resource in ("macs", "params")
                for temperature in (5.0, 0.1)
            ),
            f"{100 * trials['met_0.1'].mean():.0f}",
        ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_parser("hour_nas.ablations", __doc__)
    add_seeds(parser, [0, 1])
    add_run_options(parser, "runs/hour-nas-ablations")
    options = parse_run_options(parser, arguments)
    changes = ["scale.train.workers=1", *options.changes]
    recipe = Recipe.read(RECIPE, changes)
    with ray_session.connect():
        searches = {
            name: [search(options.out / f"{number}-seed-{seed}", changes, method, seed) for seed in options.seeds]
            for number, (name, method) in enumerate(variants(recipe).items())
        }
        searches["random within the targets"] = [
            row for seed in options.seeds for row in random_networks(options.out / f"random-seed-{seed}", changes, seed)
        ]
        proposals = sweep(options.out / "proposals", changes, options.seeds)
    print_heading("HourNAS's ablations", ", ".join(map(str, options.seeds)))
    print(f"Top-1 on the digits in per cent, mean ± standard deviation over {len(options.seeds)} seeds.\n")
    columns: tuple[str, ...] = ("search", "training s", "M multiply-adds", "k parameters", "one-shot", "stand-alone")
    print_table(columns, rows(searches))
    print("The number of proposals m (table 1). 10,000 architectures are drawn from the chosen proposal.\n")
    print("- `macs, 5`, ...: mean distance of their costs from the target in per cent, at temperatures 5 and 0.1")
    print("- `met, %`: share of them within 3 % of both targets at temperature 0.1\n")
    columns = ("m", "one-shot", "stand-alone", "macs, 5", "macs, 0.1", "params, 5", "params, 0.1", "met, %")
    print_table(columns, sweep_rows(proposals))


if __name__ == "__main__":
    main()
