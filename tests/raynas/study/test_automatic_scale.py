"""Workers, evaluators and threads that a recipe leaves open follow from the cores, once for each run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raynas.recipe.recipe import Recipe
from raynas.recipe.settings import ScaleSettings
from raynas.storage.progress import Quiet
from raynas.storage.run_folder import RunFolder
from raynas.study.automatic_scale import choose_scale, with_automatic_scale
from raynas.study.run import open_study
from raynas.study.run_plan import Plan, plan
from tests.support.finished_runs import SMALL


def recipe(batch_size: int, fit_batch_size: int = 256, **train: Any) -> Recipe:
    """Return a recipe with these batches and settings of its workers."""
    groups = {"training": {"batch_size": batch_size}, "fit": {"batch_size": fit_batch_size}}
    return Recipe.read({"method": "spos", "space": "proxylessnas", "scale": {"train": train}, **groups})


@pytest.mark.parametrize(
    ("batch_size", "cores", "workers"), [(32, 2, 2), (32, 8, 2), (31, 2, 1), (8, 2, 1), (256, 1, 1), (256, 12, 12)]
)
def test_each_worker_has_a_core_and_sixteen_images(batch_size: int, cores: int, workers: int) -> None:
    assert choose_scale(recipe(batch_size), cores)["train"] == {"workers": workers, "threads": 1}


def test_the_smaller_batch_decides() -> None:
    assert choose_scale(recipe(64, fit_batch_size=32), 4)["train"]["workers"] == 2


def test_gpus_get_no_further_processes() -> None:
    assert choose_scale(recipe(256, gpus=1), 8)["train"] == {"workers": 1, "threads": 1}


def test_evaluators_are_as_many_as_cores_but_at_most_eight() -> None:
    actors = [choose_scale(recipe(256), cores)["evaluate"]["actors"] for cores in (1, 2, 64)]
    assert actors == [1, 2, 8]


def scaled_plan(folder: Path, cores: int | None, **scale: Any) -> Plan:
    """Return a plan as a machine of this many cores scales it."""
    return with_automatic_scale(plan(Recipe.read({**SMALL, "scale": scale})), RunFolder(folder), cores)


def test_what_the_recipe_says_stays(tmp_path: Path) -> None:
    scaled = scaled_plan(tmp_path, 4, train={"workers": 1}, evaluate={"threads": 2}).recipe.scale
    assert (scaled.train.workers, scaled.evaluate.actors, scaled.evaluate.threads) == (1, 4, 2)


def test_a_ray_that_was_there_before_keeps_the_defaults(tmp_path: Path) -> None:
    assert scaled_plan(tmp_path, None).recipe.scale == ScaleSettings()


def test_a_run_keeps_its_scale_on_a_machine_of_other_cores(tmp_path: Path) -> None:
    begun = scaled_plan(tmp_path, 4)
    assert begun.recipe.scale.train.workers == 4
    with open_study(begun, RunFolder(tmp_path), Quiet()) as study:
        study.do("step", "sweep", "a step", {}, lambda folder: {})
    assert scaled_plan(tmp_path, 2).recipe == begun.recipe
    assert scaled_plan(tmp_path / "other", 2).recipe.scale.train.workers == 2
