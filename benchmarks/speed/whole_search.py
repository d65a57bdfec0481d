"""How long does a whole search take, from the command to the best network, beside the same algorithm written plainly?

    python -m benchmarks.speed.whole_search [--recipes NAME ...] [--seeds N ...] [--channels-last]

The plain loop is one process with PyTorch and pymoo (`benchmarks.speed.plain_loops`), with as many torch threads as the
machine has cores. Both sides run from the start of a process to its end and take turns. FTSO's time includes the
stand-alone training of its network. The best networks of PAD-NAS and SPOS are trained after the measurement, both by
the same loop.

Prints a table with a row for each recipe.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import raynas
from benchmarks.common.arguments import add_changes, add_seeds, add_threads, command_parser
from benchmarks.common.report import print_heading, print_table, spread
from benchmarks.common.timed_process import raynas_run, set_options, time_process
from benchmarks.speed.plain_steps import Task, train_stand_alone
from raynas.recipe.recipe import Recipe

RECIPES = ("pad-nas-digits", "spos-digits", "ftso-digits")


@dataclass(frozen=True)
class SearchRun:
    """One whole search.

    Attributes:
        seconds: from the start of the process to its end.
        one_shot_top1: the best one-shot accuracy in per cent; of FTSO, that of the topology.
        test_top1: the test accuracy of the best network in per cent, after stand-alone training.
    """

    seconds: float
    one_shot_top1: float
    test_top1: float


def run_with_raynas(recipe: str, changes: Sequence[str], folder: Path) -> SearchRun:
    """Time `raynas run` in a new run folder."""
    seconds = time_process(raynas_run(recipe, changes, folder))
    outcome = raynas.load(folder)
    best = outcome.best
    if outcome.is_tested:
        one_shot = outcome.table[outcome.table["step"] == "topology-accuracy"]["top1"].max()
        return SearchRun(seconds, float(one_shot), best["top1"])
    return SearchRun(seconds, best["top1"], stand_alone_top1(recipe, changes, best["architecture"]))


def run_plain_loop(recipe: str, changes: Sequence[str], file: Path, options: Sequence[str] = ()) -> SearchRun:
    """Time the plain loop; its result goes into a file."""
    command: list[str | Path] = [sys.executable, "-m", "benchmarks.speed.plain_loops", recipe, "--out", file]
    seconds = time_process([*command, *options, *set_options(changes)])
    result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    tested = result["test_top1"]
    if tested is None:
        tested = stand_alone_top1(recipe, changes, result["architecture"])
    return SearchRun(seconds, result["one_shot_top1"], tested)


def stand_alone_top1(recipe: str, changes: Sequence[str], text: str) -> float:
    """Train the network of an architecture's text stand-alone by the recipe's `fit`; return its test accuracy."""
    task = Task.of(Recipe.read(recipe, changes), torch.channels_last)
    return train_stand_alone(task, task.space.parse(text))


def compare(recipe: str, changes: Sequence[str], seeds: Sequence[int], options: Sequence[str] = ()) -> list[str]:
    """Run both sides in turns, once for each seed. Returns the cells of the recipe's row."""
    runs: tuple[list[SearchRun], list[SearchRun]] = ([], [])
    for seed in seeds:
        seeded = [*changes, f"seed={seed}"]
        with tempfile.TemporaryDirectory() as folder:
            runs[0].append(run_with_raynas(recipe, seeded, Path(folder) / "run"))
            runs[1].append(run_plain_loop(recipe, seeded, Path(folder) / "plain.json", options))
    return [recipe, *cells(*runs)]


def cells(by_raynas: Sequence[SearchRun], plain: Sequence[SearchRun]) -> list[str]:
    """Return the least seconds of both sides, their ratio, and the accuracies over the seeds."""
    seconds, plain_seconds = (min(run.seconds for run in runs) for runs in (by_raynas, plain))
    return [
        f"{seconds:.0f}",
        f"{plain_seconds:.0f}",
        f"{plain_seconds / seconds:.2f}x",
        *(spread((run.one_shot_top1 for run in runs), 1) for runs in (by_raynas, plain)),
        *(spread((run.test_top1 for run in runs), 1) for runs in (by_raynas, plain)),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_parser("speed.whole_search", __doc__)
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=RECIPES, help="(default: all)")
    add_seeds(parser, [0])
    add_changes(parser)
    add_threads(parser)
    parser.add_argument("--channels-last", action="store_true", help="let the plain loop use channels-last, too")
    options = parser.parse_args(arguments)
    print_heading("A whole search", " ".join(map(str, options.seeds)))
    print("- `raynas`, `plain`: seconds from the command to the best network, the least over the seeds")
    print(f"- `plain` has {options.threads} torch threads")
    print("- `x`: ratio of the plain loop's time to raynas's")
    print("- `one-shot`: best one-shot top-1 in %, mean over the seeds; of FTSO, the topology's")
    print("- `test`: top-1 in % of the best network on the test images, after stand-alone training\n")
    columns = ["recipe", "raynas", "plain", "x", "one-shot raynas", "one-shot plain", "test raynas", "test plain"]
    plain_options = ["--threads", str(options.threads), *(["--channels-last"] if options.channels_last else [])]
    rows = [compare(recipe, options.changes, options.seeds, plain_options) for recipe in options.recipes]
    print_table(columns, rows)


if __name__ == "__main__":
    main()
