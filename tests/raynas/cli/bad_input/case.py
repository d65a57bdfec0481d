"""What a case of bad input is, and what several of them put into the working directory."""

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
from raynas.study.run_plan import begin_run_folder, plan

RECIPE: dict[str, Any] = {
    "method": {"name": "pad-nas", "stages": 2, "epochs": [1], "learning_rates": [0.1]},
    "space": {"name": "nas-bench-macro", "width": 0.125, "resolution": 16},
    "training": {"batch_size": 32},
    "search": {"population": 4, "generations": 2},
}
NETWORK = "nas-bench-macro: k3e3 k3e3 | k3e3 k3e3 k3e3 | k3e3 k3e3 k3e3"
EXECUTED = "EXECUTED"
Given = Callable[[Path], object]


class Malicious:
    """Unpickled, it would leave a folder in the working directory."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (EXECUTED,)


@dataclass(frozen=True)
class Case:
    """A command line that has to be refused.

    Attributes:
        wrong: what is wrong, for readers of the table.
        said: what the sentence has to hold.
        given: fills the working directory first, which always has `recipe.yaml`.
    """

    wrong: str
    command: tuple[str, ...]
    said: tuple[str, ...]
    given: Given | None = None


def case(wrong: str, command: list[str], *said: str, given: Given | None = None) -> Case:
    return Case(wrong, tuple(command), said, given)


def changed(wrong: str, changes: str | list[str], *said: str, given: Given | None = None, recipe: str = "") -> Case:
    """`raynas run` of the recipe, or of one that ships with raynas, with changes of it."""
    listed = [changes] if isinstance(changes, str) else changes
    sets = [f"--set={change}" for change in listed]
    return case(wrong, ["run", recipe or "recipe.yaml", "--out", "out", *sets], *said, given=given)


def file(name: str, content: str | bytes) -> Given:
    def write(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return write


def several(*givens: Given) -> Given:
    def write(folder: Path) -> None:
        for given in givens:
            given(folder)

    return write


def images(*classes: str, parts: tuple[str, ...] = ("train", "val"), each: int = 10) -> Given:
    """A folder `images` of noise."""

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
    """A run that has begun and finished nothing."""
    run = RunFolder(folder / name)
    begin_run_folder(run, plan(Recipe.read(RECIPE)))
    run.write_json("study.json", {"steps": []})
    return run


def finished(folder: Path, name: str = "run", cost: str = "macs") -> RunFolder:
    """What a finished run leaves, but for its weights; nothing was trained for it."""
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
