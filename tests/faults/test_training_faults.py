"""What goes wrong while training: a loss that explodes, memory that runs out, a checkpoint that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
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

pytestmark = pytest.mark.usefixtures("cluster")
RECIPE: dict[str, Any] = {
    "method": {"name": "spos"},
    "space": {"name": "nas-bench-macro", "width": 0.125, "resolution": 16},
    "data": {"name": "digits", "classes": 3},
    "training": {"epochs": 3, "batch_size": 32, "learning_rate": 0.1},
    "scale": {"max_failures": 1},
}


class Heard(Quiet):
    """Remembers what was said, and which checkpoints there were then."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.said: list[str] = []
        self.kept: list[list[str]] = []

    def say(self, text: str) -> None:
        self.said.append(text)
        self.kept.append([file.name for file in self._folder.glob("steps/*/checkpoints/*")])


@contextmanager
def training(folder: Path, objective: Objective, *changes: str) -> Iterator[tuple[Heard, Any]]:
    """A study's training step in a folder, not yet carried out, and what it says."""
    recipe, heard = Recipe.read(RECIPE, changes), Heard(folder)
    with open_study(plan(recipe), RunFolder(folder), heard) as study:

        def train() -> Weights:
            return study.train("supernet", study.space, objective, recipe.training)

        yield heard, train


def test_an_exploding_loss_stops_the_step_and_names_the_epoch_and_the_architecture(tmp_path: Path) -> None:
    with (
        training(tmp_path, UniformPath(), "training.learning_rate=1e4") as (_, train),
        pytest.raises(StepFailed, match=r"in epoch 1, of nas-bench-macro: \w.*on_divergence: lower-lr"),
    ):
        train()
    assert not list(tmp_path.glob("steps/*/weights.safetensors"))


def test_weights_that_are_no_numbers_are_never_kept(tmp_path: Path) -> None:
    with (
        training(tmp_path, Poisoned()) as (_, train),
        pytest.raises(StepFailed, match="A weight was not finite in epoch 2, in the step supernet"),
    ):
        train()
    (kept,) = tmp_path.glob("steps/*/checkpoints/*")
    assert checkpoints.written_at(kept.name)[:2] == (1, 0)


def test_a_lower_rate_goes_on_where_the_last_good_epoch_ended(tmp_path: Path) -> None:
    """And not in the middle of the one that went wrong, of which there are checkpoints, too."""
    changes = ("training.learning_rate=300", "training.on_divergence=lower-lr", "training.checkpoint_minutes=1e-6")
    with training(tmp_path, UniformPath(), *changes) as (heard, train):
        weights = train()
    lowered = [
        (text, kept) for text, kept in zip(heard.said, heard.kept, strict=True) if "of its learning rate" in text
    ]
    assert lowered
    for text, kept in lowered:
        assert "in epoch " in text
        assert [checkpoints.written_at(name)[1] for name in kept] in ([], [0])
    assert [row["epoch"] for row in weights.history] == [1, 2, 3]
    assert weights.history[-1]["loss"] < weights.history[0]["loss"] * 2


def test_a_worker_without_memory_says_what_to_lower(tmp_path: Path) -> None:
    with training(tmp_path, Hungry()) as (_, train), pytest.raises(StepFailed) as fault:
        train()
    assert "ran out of memory on cpu with 32 images at once" in str(fault.value)
    assert "raise training.accumulate, or lower training.batch_size" in str(fault.value)
    kept = [file.name for file in tmp_path.glob("steps/*/checkpoints/*")]
    assert [checkpoints.written_at(name)[:2] for name in kept] == [(1, 0)], "the epoch before is not lost"

    with training(tmp_path, Hungry()) as (_, train), pytest.raises(StepFailed, match="ran out of memory"):
        train()
    (newest,) = tmp_path.glob("steps/*/checkpoints/*")
    assert newest.name == kept[0], "the second attempt goes on from what the first has kept, and trains no epoch anew"

    newest.write_bytes(newest.read_bytes()[:-100])
    with training(tmp_path, Hungry()) as (heard, train), pytest.raises(StepFailed, match="ran out of memory"):
        train()
    assert f"{kept[0]} cannot be read: training goes on from the beginning" in heard.said
