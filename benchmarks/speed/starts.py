"""How long does a step wait for its processes?

    python -m benchmarks.speed.starts

PAD-NAS runs on a few tiny images, so that its steps compute next to nothing: their seconds are those of the start of
processes, of messages and files. Each run has a Ray of its own in a new process. Once processes live on between steps,
as in `raynas run`; once each step has new processes.

Prints a table with a row for each step.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.common.arguments import command_parser
from benchmarks.common.report import print_heading, print_table
from benchmarks.common.timed_process import time_process
from raynas.recipe.recipe import Recipe
from raynas.storage.run_folder import RunFolder
from raynas.storage.step_records import records
from raynas.study.method import method_of_recipe
from raynas.study.run import open_study
from raynas.study.run_plan import plan

RECIPE: dict[str, Any] = {
    "method": {"name": "pad-nas", "stages": 4, "epochs": [1, 1, 1], "learning_rates": [0.1, 0.1, 0.1]},
    "space": {"name": "nas-bench-macro", "width": 0.125, "resolution": 8},
    "data": {"name": "digits", "classes": 3},
    "training": {"batch_size": 32, "steps": 1},
    "search": {"population": 4, "generations": 1},
    "evaluation": {"recalibration_images": 32, "recalibration_batch_size": 32},
    "scale": {"train": {"workers": 2}, "evaluate": {"actors": 2}},
}


def run(folder: Path, keep: bool) -> None:
    """Run the recipe in a folder. Processes live on between the steps if they are kept."""
    recipe = Recipe.read(RECIPE)
    with open_study(plan(recipe), RunFolder(folder), keep=keep) as study:
        method_of_recipe(recipe).run(study)


def step_seconds(folder: Path, keep: bool) -> dict[str, float]:
    """Run the recipe in a process of its own. Returns the seconds of each step, by its name."""
    call = f"from pathlib import Path; from benchmarks.speed.starts import run; run(Path({str(folder)!r}), {keep})"
    time_process([sys.executable, "-c", call])
    return {step["name"]: step["seconds"] for step in records(RunFolder(folder))}


def main(arguments: Sequence[str] | None = None) -> None:
    command_parser("speed.starts", __doc__).parse_args(arguments)
    print_heading("The start of a step", "0")
    print("- `living`: seconds of the step if processes live on; the first step starts Ray, too")
    print("- `new`: seconds if each step starts processes of its own\n")
    with tempfile.TemporaryDirectory() as folder:
        living, new = (step_seconds(Path(folder) / name, name == "living") for name in ("living", "new"))
    rows = [[step, f"{seconds:.1f}", f"{new[step]:.1f}"] for step, seconds in living.items()]
    print_table(["step", "living", "new"], rows)


if __name__ == "__main__":
    main()
