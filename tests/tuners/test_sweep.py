"""The sweep of another method: the recipe of a trial, refused settings, and the table of a whole run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import raynas
from raynas.recipe.recipe import Recipe
from raynas.study.method import method_of_recipe
from raynas.study.run_plan import plan
from search_spaces import UserError
from tuners.sweep import Setting, Sweep

SETTINGS: list[dict[str, Any]] = [
    {"name": "one step", "set": {"method.topology_steps": 1}},
    {"name": "darts", "set": {"method": {"name": "darts"}, "training.epochs": 2}},
]


def sweep_recipe(settings: list[dict[str, Any]], **method: Any) -> Recipe:
    swept = {"name": "sweep", "of": {"name": "ftso"}, "settings": settings, **method}
    small = ["space.cells=3", "space.channels=4", "space.resolution=8", "data.classes=3", "fit.epochs=1"]
    return Recipe.read("ftso-digits", [f"method={json.dumps(swept)}", "space.partial=1", *small])


def test_a_trial_has_the_swept_method_with_its_changes_and_seed() -> None:
    recipe = sweep_recipe(SETTINGS)
    method = method_of_recipe(recipe)
    assert isinstance(method, Sweep)
    first, second = (method.recipe_of(setting, recipe, 7) for setting in method.settings)
    assert first.method == {"name": "ftso", "topology_steps": 1}
    assert second.method == {"name": "darts"}
    assert (second.training.epochs, second.seed, second.space) == (2, 7, recipe.space)
    assert Sweep(of={"name": "ftso"}).settings == (Setting(name="unchanged"),)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ([{"name": "a"}, {"name": "a"}], "Two settings of the sweep have the same name: a, a"),
        ([{"name": "a", "set": {"training.epoch": 1}}], "no key 'training.epoch'"),
        ([{"name": "a", "set": {"method.step": 1}}], "no setting 'step'|no key 'step'|'step'"),
        ([{"name": "a", "set": {"budget.macs.max": "10M"}}], "ftso accepts no budget"),
        ([{"name": "a", "set": {"method.name": "fts"}}], "No method is called 'fts'"),
    ],
)
def test_an_impossible_setting_is_refused_before_any_training(settings: list[dict[str, Any]], message: str) -> None:
    recipe = sweep_recipe(settings)
    with pytest.raises(UserError, match=message):
        method_of_recipe(recipe).check(plan(recipe))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("cluster")
def test_every_setting_and_seed_is_a_row(tmp_path: Path) -> None:
    recipe = sweep_recipe(SETTINGS[:1], seeds=[0, 1])
    outcome = raynas.run(recipe, tmp_path / "run")
    rows = pd.read_csv(tmp_path / "run" / Sweep.table_name)
    assert rows[["setting", "seed"]].to_numpy().tolist() == [["one step", 0], ["one step", 1]]
    assert rows["accuracy_of"].tolist() == ["network"] * 2
    assert rows["architecture"].tolist() == outcome.table["architecture"].tolist()
    assert set(rows["topology_unchanged"]) <= {True, False}
    assert (rows["training_seconds"] > 0).all()
    for row in rows.to_dict("records"):
        trial = raynas.load(tmp_path / "run" / row["folder"])
        assert (trial.method, trial.best["architecture"]) == ("ftso", row["architecture"])
