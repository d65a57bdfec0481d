"""Faults of trainings: a loss that explodes, memory that runs out, a checkpoint that cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from raynas.interfaces.objective import Objective, UniformPath
from raynas.recipe.recipe import Recipe
from raynas.storage.errors import StepFailed
from raynas.storage.progress import Quiet
from raynas.storage.run_folder import RunFolder
from raynas.storage.weights import Weights
from raynas.study.run import open_study
from raynas.study.run_plan import plan
from raynas.training import checkpoints
from tests.faults.hungry import Hungry
from tests.faults.poisoned import Poisoned
from tests.support.damage import truncate

pytestmark = pytest.mark.usefixtures("cluster")
RECIPE: dict[str, Any] = {
    "method": {"name": "spos"},
    "space": {"name": "nas-bench-macro", "width": 0.125, "resolution": 16},
    "data": {"name": "digits", "classes": 3},
    "training": {"epochs": 3, "batch_size": 32, "learning_rate": 0.1},
    "scale": {"max_failures": 1},
}


class Recorder(Quiet):
    """Keeps the lines of a run, and the checkpoints that existed at each line."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.lines: list[str] = []
        self.checkpoints: list[list[str]] = []

    def say(self, text: str) -> None:
        self.lines.append(text)
        self.checkpoints.append([file.name for file in self._folder.glob("steps/*/checkpoints/*")])


@contextmanager
def training(folder: Path, objective: Objective, *changes: str) -> Iterator[tuple[Recorder, Callable[[], Weights]]]:
    """Open a study. Yields the recorder of its lines, and a function that trains in it."""
    recipe, recorder = Recipe.read(RECIPE, changes), Recorder(folder)
    with open_study(plan(recipe), RunFolder(folder), recorder) as study:

        def train() -> Weights:
            return study.train("supernet", study.space, objective, recipe.training)

        yield recorder, train


def test_an_exploding_loss_stops_the_step_and_its_error_names_the_epoch_and_the_architecture(tmp_path: Path) -> None:
    with (
        training(tmp_path, UniformPath(), "training.learning_rate=1e4") as (_, train),
        pytest.raises(StepFailed, match=r"in epoch 1; architectures: nas-bench-macro: \w.*on_divergence=lower-lr"),
    ):
        train()
    assert not list(tmp_path.glob("steps/*/weights.safetensors"))


def test_no_checkpoint_holds_weights_that_are_not_finite(tmp_path: Path) -> None:
    with (
        training(tmp_path, Poisoned()) as (_, train),
        pytest.raises(StepFailed, match="A weight was not finite in epoch 2, in the step supernet"),
    ):
        train()
    (checkpoint,) = tmp_path.glob("steps/*/checkpoints/*")
    assert checkpoints.written_at(checkpoint.name)[:2] == (1, 0)


def test_training_continues_with_a_lower_rate_from_the_end_of_the_last_good_epoch(tmp_path: Path) -> None:
    """Checkpoints from within the diverged epoch are removed."""
    changes = ("training.learning_rate=300", "training.on_divergence=lower-lr", "training.checkpoint_minutes=1e-6")
    with training(tmp_path, UniformPath(), *changes) as (recorder, train):
        weights = train()
    lowered = [
        (line, files)
        for line, files in zip(recorder.lines, recorder.checkpoints, strict=True)
        if "of its learning rate" in line
    ]
    assert lowered
    for line, files in lowered:
        assert "in epoch " in line
        assert [checkpoints.written_at(file)[1] for file in files] in ([], [0])
    assert [row["epoch"] for row in weights.history] == [1, 2, 3]
    assert weights.history[-1]["loss"] < weights.history[0]["loss"] * 2


def test_the_error_of_a_worker_without_memory_names_the_settings_to_change(tmp_path: Path) -> None:
    with training(tmp_path, Hungry()) as (_, train), pytest.raises(StepFailed) as fault:
        train()
    assert "ran out of memory on cpu with 32 images at once" in str(fault.value)
    assert "raise training.accumulate, or lower training.batch_size" in str(fault.value)
    (kept,) = [file.name for file in tmp_path.glob("steps/*/checkpoints/*")]
    assert checkpoints.written_at(kept)[:2] == (1, 0), "the epoch before is kept"

    with training(tmp_path, Hungry()) as (_, train), pytest.raises(StepFailed, match="ran out of memory"):
        train()
    (newest,) = tmp_path.glob("steps/*/checkpoints/*")
    assert newest.name == kept, "the second attempt continues from the checkpoint of the first"

    truncate(newest)
    with training(tmp_path, Hungry()) as (recorder, train), pytest.raises(StepFailed, match="ran out of memory"):
        train()
    assert f"{kept} cannot be read: training goes on from the beginning" in recorder.lines
