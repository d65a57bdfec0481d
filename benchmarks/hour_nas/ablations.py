"""HourNAS tables 1, 4 and 5 at the size of the digits: how many proposals, without the prior, and another sampling.

    python -m benchmarks.hour_nas.ablations [--seeds 0 1] [--set PATH=VALUE] [--out runs/hour-nas-ablations]

Every search is a run of the recipe `hour-nas-digits` with one setting changed, in a run folder of its own under
`--out`: the command goes on with what is not finished. What a search has found is trained alone. Searches without the
prior have all epochs in their one stage. The cost of a search is what its training takes, in seconds of one worker.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import raynas
from benchmarks.common.report import heading, table
from raynas.cluster import ray_session
from raynas.networks.fit import fit_run
from raynas.recipe.recipe import Recipe
from raynas.storage.progress import Live
from raynas.storage.run_folder import RunFolder
from raynas.storage.step_records import training_histories
from tuners.hour_nas.sweep import HourNasSweep

RECIPE = "hour-nas-digits"
PROPOSALS = (1, 2, 4, 8, 16)


def variants(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """What each search changes of the recipe's method."""
    epochs = recipe.method["vital_epochs"] + recipe.method["epochs"]
    return {
        "HourNAS": {},
        "without the prior (table 4)": {"vital_first": False, "epochs": epochs},
        "Gumbel-softmax (table 5)": {"sampling": "gumbel-softmax"},
    }


def search(folder: Path, changes: Sequence[str], method: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """One search and the network that it found, trained alone: accuracies in per cent, costs, training seconds."""
    own = [f"method.{key}={value}" for key, value in method.items()]
    outcome = raynas.run(RECIPE, folder, [*changes, *own, f"seed={seed}"], reporter=Live())
    fitted = fit_run(str(folder), [], [], Live())[0]
    seconds = sum(
        epoch["seconds"]
        for step, epochs in training_histories(RunFolder(folder)).items()
        if "vital" in step
        for epoch in epochs
    )
    return {**outcome.best, "alone": fitted["top1"], "seconds": seconds}


def sweep(folder: Path, changes: Sequence[str], seeds: Sequence[int]) -> pd.DataFrame:
    """Table 1: the second stage for each number of proposals, over one first stage."""
    method = ["method.name=hour-nas-sweep", f"method.sweep={list(PROPOSALS)}", f"method.seeds={list(seeds)}"]
    raynas.run(RECIPE, folder, [*changes, *method, "method.fit_each=true"], reporter=Live())
    return pd.read_csv(folder / HourNasSweep.table_name)


def rows(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[list[str]]:
    for name, runs in found.items():
        cells = [
            f"{np.mean([run[key] for run in runs]) / unit:.{digits}f}"
            for key, unit, digits in (("seconds", 1, 0), ("macs", 1e6, 2), ("params", 1e3, 1))
        ]
        yield [name, *cells, *(_spread([run[key] for run in runs]) for key in ("top1", "alone"))]


def sweep_rows(found: pd.DataFrame) -> Iterator[list[str]]:
    for m, trials in found.groupby("m"):
        yield [
            str(m),
            _spread(trials["top1"]),
            _spread(trials["standalone_top1"]),
            *(
                f"{100 * trials[f'{resource}_off_{temperature}'].mean():.1f}"
                for resource in ("macs", "params")
                for temperature in (5.0, 0.1)
            ),
            f"{100 * trials['met_0.1'].mean():.0f}",
        ]


def _spread(values: Sequence[float] | pd.Series[float]) -> str:
    return f"{np.mean(values):.1f} ± {np.std(values):.1f}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hour_nas.ablations", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--out", type=Path, default=Path("runs/hour-nas-ablations"))
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="PATH=VALUE")
    given = parser.parse_args(arguments)
    changes = ["scale.train.workers=1", *given.changes]
    recipe = Recipe.read(RECIPE, changes)
    with ray_session.connect():
        found = {
            name: [search(given.out / f"{number}-seed-{seed}", changes, method, seed) for seed in given.seeds]
            for number, (name, method) in enumerate(variants(recipe).items())
        }
        proposals = sweep(given.out / "proposals", changes, given.seeds)
    heading("HourNAS's ablations", ", ".join(map(str, given.seeds)))
    print(f"Top-1 on the digits in per cent, mean ± standard deviation over {len(given.seeds)} seeds.\n")
    table(("search", "training s", "M multiply-adds", "k parameters", "one-shot", "trained alone"), rows(found))
    print(
        "The number of proposals m (table 1): the accuracies of what is found, the mean distance in per cent of 10,000 "
        "architectures drawn from its proposal from each target at temperatures 5 and 0.1, and the share of them "
        "within 3 % of both targets at 0.1.\n"
    )
    columns = ("m", "one-shot", "trained alone", "macs, 5", "macs, 0.1", "params, 5", "params, 0.1", "met, %")
    table(columns, sweep_rows(proposals))


if __name__ == "__main__":
    main()
