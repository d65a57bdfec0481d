"""Every shipped recipe is planned on images like those of its data set, and trains a few steps at a small scale."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks.speed.in_process import run_in_process
from raynas.recipe.recipe import Recipe, shipped_recipes
from raynas.study.method import method_of_recipe
from raynas.study.run_plan import check_fit, plan
from search_spaces.errors import UserError
from tests.support.made_once import make_once, session_folder
from tests.support.small_recipes import small_changes, two_step_changes

TUNED = "hm-nas-imagenet-tune"
"""The recipe that starts from the finished run of another."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_once(session_folder(tmp_path_factory) / "images-of-recipes", lambda folder: None)


@pytest.mark.parametrize("name", sorted(set(shipped_recipes()) - {TUNED}))
def test_every_shipped_recipe_can_be_planned(name: str, images: Path, tmp_path: Path) -> None:
    recipe = Recipe.read(name, small_changes(name, images, tmp_path))
    planned = plan(recipe)
    method_of_recipe(recipe).check(planned)
    assert len(planned.data.classes) == _classes(Recipe.read(name))


def test_the_tuning_of_hm_nas_lacks_nothing_but_its_searched_run(images: Path, tmp_path: Path) -> None:
    recipe = Recipe.read(TUNED, [*small_changes(TUNED, images, tmp_path), f"method.searched_run={tmp_path / 'run'}"])
    planned = plan(recipe)
    with pytest.raises(UserError, match=r"method\.searched_run"):
        method_of_recipe(recipe).check(planned)


@pytest.mark.parametrize("name", ["fp-nas-l1", "fp-nas-l2"])
def test_a_teacher_is_checked_against_the_classes_of_the_fit(name: str, images: Path, tmp_path: Path) -> None:
    """The search runs on 100 classes, the fit on the 1,000 classes of the teacher (`data.classes=null`)."""
    changes = [*small_changes(name, images, tmp_path), "fit.batch_size=1024"]
    with pytest.raises(UserError, match="efficientnet_b4 have 1,000 classes, but the data has 100: train on"):
        check_fit(plan(Recipe.read(name, changes)))
    check_fit(plan(Recipe.read(name, [*changes, "data.classes=null"])))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("fit.batch_size=2000", r"fit\.batch_size is 2000, but there are only 1,442 training images"),
        ("fit.accumulate=17", r"fit\.batch_size = 32 is less than 2 workers times 17 micro-batches"),
        ("fit.drop_path=0.2", r"fit\.drop_path are for networks of cells"),
    ],
)
def test_a_fit_is_checked_only_where_a_network_is_trained_alone(change: str, message: str) -> None:
    """`fp-nas` reads no `fit`. Its sweep does if it trains each network."""
    changes = [change, 'method.sweep=[{"name": "FS", "sample_size": {"fixed": 2}}]', "method.name=fp-nas-sweep"]
    recipe = Recipe.read("fp-nas-digits", changes)
    method_of_recipe(recipe).check(plan(recipe))
    fits = Recipe.read(recipe.json_value(), ["method.fit_each=true"])
    with pytest.raises(UserError, match=message):
        method_of_recipe(fits).check(plan(fits))


@pytest.mark.slow
def test_every_shipped_recipe_trains_two_steps(images: Path, tmp_path: Path) -> None:
    """One after the other, without Ray, on one thread. The tuning starts from the searched run of its own recipe."""
    for name in sorted(shipped_recipes()):
        scratch = tmp_path / name
        scratch.mkdir()
        recipe = Recipe.read(name, small_changes(name, images, scratch))
        changes = two_step_changes(recipe)
        if name == TUNED:
            changes += [f"method.searched_run={tmp_path / 'hm-nas-imagenet' / 'run'}"]
        outcome = run_in_process(Recipe.read(recipe.json_value(), changes), scratch / "run", threads=1)
        assert outcome.best, name
        if name != "hm-nas-imagenet":
            shutil.rmtree(scratch)


def _classes(recipe: Recipe) -> int:
    classes: dict[str, Any] = {"digits": 10, "CIFAR10": 10, "folder": recipe.data.classes or 1000}
    return int(classes[recipe.data.name])
