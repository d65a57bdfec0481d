"""The choices of `raynas fit ARCHITECTURE --data IMAGES`: a published training, scaled to the images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from raynas.auto.fit_choices import (
    PUBLISHED_TRAININGS,
    choose_fit_recipe,
    choose_gpu_scale,
    choose_strides,
    scale_training,
)
from raynas.recipe.recipe import Recipe
from raynas.recipe.settings import FitSettings
from raynas.study.run_plan import check_fit, plan
from search_spaces import load, published, published_names
from search_spaces.published_networks import published_text
from tests.support.command import run_raynas

FBNET = Recipe.read("hour-nas-fbnet-b").fit
MNASNET = Recipe.read("hour-nas-mnasnet").fit


def write_photos(folder: Path, each: int, side: int) -> Path:
    """Write photos of three classes, without test images."""
    for label, name in enumerate(("daisy", "rose", "tulip")):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            pixels = np.full((side, side + 8, 3), 20 * label + number, dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def text_of(name: str) -> str:
    text = published_text(name)
    assert text is not None
    return text


def test_every_published_architecture_has_a_training_and_its_text() -> None:
    for name in published_names():
        network = published(name)
        assert network.space.parse(text_of(name)) == network.architecture
        assert Recipe.read(PUBLISHED_TRAININGS[network.space.name]).fit.epochs >= 350
    assert published_text("hournas-z") is None


def test_images_decide_resolution_classes_and_batch(tmp_path: Path) -> None:
    """The published batch of 256 would leave 125 photos less than a training step an epoch."""
    folder = write_photos(tmp_path / "photos", each=50, side=66)
    recipe = choose_fit_recipe(text_of("hournas-a"), {"name": "folder", "path": str(folder)}, [])
    assert recipe.space == {
        "name": "fbnet",
        "resolution": 64,
        "stem_stride": 1,
        "stage_strides": [1, 2, 2, 2, 1, 2, 1],
    }
    assert (recipe.fit.batch_size, recipe.fit.learning_rate, recipe.fit.epochs) == (16, 0.1 * 16 / 256, 360)
    assert (recipe.fit.milestones, recipe.fit.weight_decay) == ((90, 180, 270), 4e-5)
    assert recipe.data.augment == "crop-flip"
    assert recipe.notes[-1] == (
        "64 pixels, 3 classes; `fit` of hour-nas-fbnet-b, for 120 images: epochs 360, batch_size 16, "
        "learning_rate 0.00625"
    )
    planned = plan(recipe)
    check_fit(planned)
    assert planned.space.num_classes == 3
    planned.space.parse(text_of("hournas-a"))


def test_values_of_the_user_come_first(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "photos", each=10, side=40)
    changes = ["epochs=36", "batch_size=8", "space.resolution=32", "space.stem_stride=1", "data.augment=none"]
    recipe = choose_fit_recipe(text_of("hournas-a"), {"name": "folder", "path": str(folder)}, changes)
    assert (recipe.fit.epochs, recipe.fit.batch_size, recipe.data.augment) == (36, 8, "none")
    assert recipe.fit.learning_rate == 0.1 * 8 / 256
    assert recipe.fit.milestones == (9, 18, 27), "the rate falls at the same shares of the training"
    assert recipe.space == {"name": "fbnet", "resolution": 32, "stem_stride": 1}


def test_a_few_photos_of_each_class_are_enough(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "photos", each=3, side=32)
    recipe = choose_fit_recipe(text_of("hournas-a"), {"name": "folder", "path": str(folder)}, [])
    check_fit(plan(recipe))
    assert recipe.fit.batch_size == 6


def test_a_data_set_without_a_path_is_measured_too() -> None:
    recipe = choose_fit_recipe(text_of("mobilenetv2"), {"name": "digits"}, ["data.classes=4", "epochs=2"])
    assert (recipe.space["resolution"], recipe.data.name) == (32, "digits")
    assert "4 classes" in recipe.notes[-1]
    assert plan(recipe).space.num_classes == 4


def test_an_architecture_without_a_published_training_needs_its_settings() -> None:
    text = "nas-bench-macro: k3e3 k3e3 | k3e3 k3e3 k3e3 | k3e3 k3e3 k3e3"
    recipe = choose_fit_recipe(text, {"name": "digits"}, ["epochs=2"])
    assert recipe.fit.model_fields_set == {"epochs"}
    with pytest.raises(ValueError, match=r"fit\.batch_size and fit\.learning_rate have no default"):
        check_fit(plan(recipe))


@pytest.mark.parametrize(
    ("resolution", "strides"),
    [
        (224, {}),
        (128, {}),
        (96, {"stem_stride": 1, "stage_strides": [1, 2, 2, 2, 1, 2, 1]}),
        (32, {"stem_stride": 1, "stage_strides": [1, 1, 2, 2, 1, 2, 1]}),
    ],
)
def test_the_last_feature_map_has_four_pixels(resolution: int, strides: dict[str, Any]) -> None:
    """At 32 pixels the strides are those of HourNAS's network for CIFAR-10."""
    assert choose_strides(load("fbnet"), resolution) == strides
    space = Recipe.read("hour-nas-cifar10").space
    assert choose_strides(load("fbnet"), 32) == {key: space[key] for key in ("stem_stride", "stage_strides")}


@pytest.mark.parametrize(("published", "images"), [(FBNET, 300), (MNASNET, 300), (FBNET, 1_281_167), (MNASNET, 9)])
def test_the_rate_follows_the_batch(published: FitSettings, images: int) -> None:
    scaled = FitSettings.model_validate(scale_training(published, FitSettings(), images))
    assert scaled.batch_size <= min(images, published.batch_size)
    assert images // scaled.batch_size >= min(18, images // 16) or images < 16
    assert scaled.learning_rate == published.learning_rate * scaled.batch_size / published.batch_size
    kept = ("epochs", "optimizer", "schedule", "milestones", "rate_decay", "warmup_epochs", "ema", "weight_decay")
    assert [getattr(scaled, key) for key in kept] == [getattr(published, key) for key in kept]
    assert scaled.accumulate * 256 <= max(256, scaled.batch_size)


@pytest.mark.parametrize(("gpus", "batch", "workers"), [(8, 256, 8), (8, 32, 2), (1, 256, 1), (4, 8, 1)])
def test_each_gpu_has_enough_images_for_batch_norm(gpus: int, batch: int, workers: int) -> None:
    scale = choose_gpu_scale(gpus, batch)
    assert scale == {"train": {"workers": workers, "gpus": 1}, "evaluate": {"actors": workers, "gpus": 1}}


def test_a_shorter_training_ends_at_the_published_rate() -> None:
    assert MNASNET.rate_decay is not None
    scaled = FitSettings.model_validate(scale_training(MNASNET, FitSettings(epochs=35), 300))
    assert scaled.rate_decay is not None
    assert scaled.rate_decay**35 == pytest.approx(MNASNET.rate_decay**350)
    assert scaled.warmup_epochs == 0.5
    cosine = FitSettings.model_validate(
        {**scale_training(FBNET, FitSettings(schedule="cosine"), 300), "schedule": "cosine"}
    )
    assert cosine.milestones == ()


@pytest.mark.slow
def test_a_published_name_trains_on_a_folder_and_goes_on_in_its_own_run_folder(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", each=10, side=40)
    command = ["fit", "hournas-a", "--data", "photos", "--set", "epochs=1", "--json"]
    first, second = (run_raynas(tmp_path, *command) for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout, "the second call reads the result back"
    network = json.loads(first.stdout)
    assert network["architecture"].replace(" ", "") == text_of("hournas-a").replace(" ", "")
    assert network["macs"] < 100e6
    assert len(list((tmp_path / "runs").iterdir())) == 1
