"""A case of bad input, and the files that several cases put into the working directory."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from raynas.interfaces.searcher import Evaluation
from raynas.recipe.recipe import Recipe
from raynas.results.evaluation_table import EvaluationTable
from raynas.results.outcome import Outcome
from raynas.storage.run_folder import RunFolder
from raynas.study.run_files import begin_run_folder
from raynas.study.run_plan import plan

RECIPE: dict[str, Any] = {
    "method": {"name": "pad-nas", "stages": 2, "epochs": [1], "learning_rates": [0.1]},
    "space": {"name": "nas-bench-macro", "width": 0.125, "resolution": 16},
    "training": {"batch_size": 32},
    "search": {"population": 4, "generations": 2},
    "fit": {"epochs": 1, "batch_size": 32, "learning_rate": 0.1},
}
CHOSEN = ("--set=epochs=1", "--set=batch_size=32", "--set=learning_rate=0.1")
"""The settings that a training of a text has to choose."""
NETWORK = "nas-bench-macro: k3e3 k3e3 | k3e3 k3e3 k3e3 | k3e3 k3e3 k3e3"
EXECUTED = "EXECUTED"
Setup = Callable[[Path], object]
"""Writes the files of a case into the working directory."""


class Malicious:
    """An object that makes a folder in the working directory when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (EXECUTED,)


@dataclass(frozen=True)
class Case:
    """A command line that must be refused.

    Attributes:
        fault: the error, for the table of cases.
        parts: texts that the sentence must contain.
        setup: writes files into the working directory, which always has `recipe.yaml`.
    """

    fault: str
    command: tuple[str, ...]
    parts: tuple[str, ...]
    setup: Setup | None = None


def case(fault: str, command: list[str], *parts: str, setup: Setup | None = None) -> Case:
    return Case(fault, tuple(command), parts, setup)


def changed(fault: str, changes: str | list[str], *parts: str, setup: Setup | None = None, recipe: str = "") -> Case:
    """Return the case of `raynas run` with changes of `recipe.yaml`, or of a recipe that ships with raynas."""
    options = [f"--set={change}" for change in ([changes] if isinstance(changes, str) else changes)]
    return case(fault, ["run", recipe or "recipe.yaml", "--out", "out", *options], *parts, setup=setup)


def file(name: str, content: str | bytes) -> Setup:
    def write(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return write


def several(*setups: Setup) -> Setup:
    def write(folder: Path) -> None:
        for setup in setups:
            setup(folder)

    return write


def images(*classes: str, parts: tuple[str, ...] = ("train", "val"), each: int = 10) -> Setup:
    """Write a folder `images` of noise."""

    def write(folder: Path) -> None:
        generator = np.random.default_rng(0)
        for part in parts:
            for name in classes:
                (folder / "images" / part / name).mkdir(parents=True)
                for number in range(each):
                    pixels = generator.integers(0, 255, (16, 16, 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(folder / "images" / part / name / f"{number}.png")

    return write


def begun(folder: Path, name: str = "run") -> RunFolder:
    """Write the folder of a run that has finished no step."""
    run = RunFolder(folder / name)
    begin_run_folder(run, plan(Recipe.read(RECIPE)))
    run.write_json("study.json", {"steps": []})
    return run


def finished(folder: Path, name: str = "run", cost: str = "macs") -> RunFolder:
    """Write the folder of a finished run without weights; no training runs."""
    run = begun(folder, name)
    step: dict[str, Any] = {"name": "final", "kind": "search", "description": "", "folder": "steps/01-final"}
    step |= {"state": "finished", "identity": {}, "result": {}, "hash": ""}
    step |= {"seconds": 1.0, "worker_seconds": 1.0, "gpu_seconds": 0.0}
    run.write_json("study.json", {"steps": [step]})
    space = plan(Recipe.read(RECIPE)).space
    costs: dict[str, float] = {"macs": 1000, "params": 100}
    only = Evaluation(
        space.parse(NETWORK), top1=50.0, top5=90.0, loss=1.0, images=10, costs=costs, feasible=True, seconds=1.0
    )
    shared = {"recipe_hash": "", "part": "validation", "weights_version": "", "seed": 0, "reproducible": True}
    EvaluationTable(run).write("final", 0, 0, [only], shared)
    table = EvaluationTable(run).read()
    Outcome(run.uri, "pad-nas", space.specification(), table, "final", cost, weights=None).write()
    return run


def write_recipe(folder: Path) -> None:
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
