"""Settings refuse unknown keys and wrong values, also in a changed copy."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from raynas.recipe.recipe import Recipe
from raynas.recipe.settings import EvaluateScale, FitSettings, ScaleSettings, TrainingSettings, TrainScale
from search_spaces.errors import UserError

RECIPE = {"method": "spos", "space": "nas-bench-macro", "data": {"name": "digits"}}


def test_a_changed_copy_has_the_new_values_and_keeps_the_others() -> None:
    settings = FitSettings(epochs=3, cutout=8)
    changed = settings.changed(epochs=4)
    assert changed == FitSettings(epochs=4, cutout=8)
    assert settings.epochs == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs"),
        ({"epochs": True}, "not true or false"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"epoch": 3}, "epoch"),
        ({"schedule": "steps"}, "set both, or neither"),
    ],
)
def test_a_changed_copy_is_validated(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TrainingSettings().changed(**changes)


def test_groups_of_processes_have_defaults_of_their_own() -> None:
    scale = ScaleSettings(train=TrainScale(workers=4), evaluate=EvaluateScale(gpus=0.5))
    assert (scale.train.workers, scale.train.cpus, scale.evaluate.actors, scale.evaluate.cpus) == (4, 1, 2, 0)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ("scale.workers=2", "scale.workers"),
        ("scale.memory_gib=0.1", "scale.memory_gib"),
        ("scale.train.actors=2", "scale.train.actors"),
        ("scale.evaluate.workers=2", "scale.evaluate.workers"),
        ("scale.search.actors=2", "scale.search"),
    ],
)
def test_an_unknown_key_of_scale_is_named_in_the_error(change: str, key: str) -> None:
    with pytest.raises(UserError, match=f"^The recipe has no key '{key}'; there are .*\\.$"):
        Recipe.read(RECIPE, [change])


def test_a_wrong_value_of_scale_is_named_in_the_error() -> None:
    with pytest.raises(UserError, match=r"scale\.train\.workers"):
        Recipe.read(RECIPE, ["scale.train.workers=0"])
