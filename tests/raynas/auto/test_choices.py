"""The choices of `raynas auto`: sizes, strides, widths and schedules follow from images, limits and minutes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from raynas.auto.announce import announce, describe_result, explain_choices
from raynas.auto.choices import (
    ImageFolderSummary,
    Machine,
    choose_batch_size,
    choose_budget,
    choose_epochs,
    choose_recipe,
    choose_resolution,
    choose_space,
    choose_strides,
    choose_width,
    estimate_minutes,
    inspect_images,
)
from raynas.auto.pipeline import median_step_seconds, run_auto
from raynas.recipe.recipe import Recipe
from raynas.results.class_accuracy import ClassAccuracy
from raynas.storage.progress import Quiet
from raynas.study.method import method_of_recipe
from search_spaces import Budget, UserError, load

LAPTOP, SERVER = Machine(2, 0, "a laptop"), Machine(64, 8, "eight GPUs")
FLOWERS = ImageFolderSummary(classes=17, train=1000, test=300, side=300)


def write_folder(folder: Path, sides: tuple[int, ...] = (40, 50, 60)) -> None:
    for part, count in (("train", 6), ("test", 2)):
        for name in ("cat", "dog"):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                size = (sides[number % len(sides)] + 9, sides[number % len(sides)])
                pixels = np.full((size[1], size[0], 3), 20 * number, dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{number}.jpg")


def test_images_are_counted_and_measured(tmp_path: Path) -> None:
    write_folder(tmp_path)
    assert inspect_images(tmp_path) == ImageFolderSummary(classes=2, train=12, test=4, side=50)


def test_a_share_of_each_class_is_for_the_test_if_there_are_no_test_images(tmp_path: Path) -> None:
    write_folder(tmp_path)
    summary = inspect_images(tmp_path / "train", test=0.5)
    assert (summary.train, summary.test) == (6, 6)
    content = choose_recipe(tmp_path, summary, LAPTOP, {"macs": {"max": 5e6}}, 30, 0.5, test=0.5)
    assert Recipe.read(content).data.test == 0.5


def test_images_that_cannot_be_read_are_left_to_the_run(tmp_path: Path) -> None:
    """The run lists all of them. Only a folder without any image that can be read is refused before."""
    write_folder(tmp_path)
    files = sorted((tmp_path / "train").rglob("*.jpg"))
    files[0].write_text("no image")
    assert inspect_images(tmp_path).train == 12
    for file in files:
        file.write_text("no image")
    with pytest.raises(UserError, match=r"No image of a sample of 12 can be read, for example .*\.jpg"):
        inspect_images(tmp_path)


@pytest.mark.parametrize(("side", "chosen"), [(8, 32), (32, 32), (47, 32), (50, 48), (100, 96), (223, 192), (900, 224)])
def test_images_are_not_enlarged(side: int, chosen: int) -> None:
    assert choose_resolution(side, 10, {"macs": 1e12}) == chosen


@pytest.mark.parametrize(("limits", "largest"), [({"macs": 3e6}, 160), ({"macs": 100e6}, 224), ({"params": 1e6}, 224)])
@pytest.mark.parametrize("side", [36, 375])
def test_the_resolution_leaves_room_within_the_limits(limits: dict[str, float], largest: int, side: int) -> None:
    images = ImageFolderSummary(classes=10, train=1000, test=300, side=side)
    settings = choose_space(images, limits)
    assert settings["resolution"] <= largest
    space = load(**settings, num_classes=10)
    budget = Budget.model_validate(choose_budget(space, space.costs(), limits))
    assert budget.root[next(iter(limits))].min


def test_limits_below_the_smallest_space_are_left_to_the_budget() -> None:
    images = ImageFolderSummary(classes=10, train=1000, test=300, side=375)
    assert choose_space(images, {"macs": 1000})["resolution"] == 32


@pytest.mark.parametrize("side", [32, 64, 96, 128, 160, 224])
def test_the_last_feature_map_has_four_to_eight_pixels(side: int) -> None:
    strides = choose_strides(side, 10, {"macs": 1e12})
    stride = strides.get("stem_stride", 2) * np.prod(strides.get("stage_strides", [1, 2, 2, 2, 1, 2, 1]))
    assert 4 <= side / stride <= 8


@pytest.mark.parametrize(
    ("side", "limits"),
    [
        (32, {"macs": 3e6}),
        (32, {"macs": 30e6, "params": 2e6}),
        (64, {"macs": 20e6}),
        (128, {"params": 1e6}),
        (224, {"macs": 300e6}),
        (224, {"macs": 40e6}),
    ],
)
def test_the_limits_can_be_met_and_exclude_architectures(side: int, limits: dict[str, float]) -> None:
    """The space has architectures within the limits, and others above them."""
    images = ImageFolderSummary(classes=10, train=5000, test=1000, side=side)
    space = load(**choose_space(images, limits), num_classes=10)
    Budget.model_validate({key: {"max": limit} for key, limit in limits.items()}).check(space.costs())
    bounds = space.costs().bounds()
    assert any(bounds[key][1] > limit for key, limit in limits.items())


def test_a_wider_limit_gives_a_wider_space() -> None:
    strides = choose_strides(224, 10, {"macs": 50e6})
    widths = [choose_width(224, 10, {"macs": limit}, strides) for limit in (20e6, 100e6, 300e6, 900e6)]
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]
    assert choose_width(224, 10, {"latency_ms": 5}, strides) == 0.5


def test_epochs_fill_their_share_of_the_time() -> None:
    """10 minutes less 20 seconds and 8 starts of 2; 45 % of that, for epochs of 20 steps of half a second, is 25.38."""
    assert choose_epochs(10, 0.5, 20, 8, "supernet") == 25
    assert choose_epochs(0.1, 0.5, 20, 8, "supernet") == 6
    assert choose_epochs(10**6, 0.5, 20, 8, "fit") == 240


@pytest.mark.parametrize(("train", "workers", "batch"), [(50, 1, 16), (1000, 1, 32), (1437, 1, 64), (10**6, 8, 256)])
def test_batches_give_twenty_steps_an_epoch(train: int, workers: int, batch: int) -> None:
    assert choose_batch_size(train, workers) == batch


@pytest.mark.parametrize("machine", [LAPTOP, SERVER])
@pytest.mark.parametrize("minutes", [1, 30, 600])
def test_raynas_accepts_the_recipe(machine: Machine, minutes: float) -> None:
    content = choose_recipe(Path("/flowers"), FLOWERS, machine, {"macs": {"max": 50e6}}, minutes, 0.5)
    recipe = Recipe.read(content)
    method_of_recipe(recipe)
    assert recipe.method["name"] == ("spos" if minutes < 8 else "pad-nas")
    assert recipe.data.augment == "random-resized-crop"
    assert recipe.scale.train.workers == (8 if machine is SERVER else 2)
    assert recipe.scale.train.gpus == (1 if machine is SERVER else 0)


@pytest.mark.parametrize(("imbalance", "sampler"), [(1, "uniform"), (9.9, "uniform"), (10, "balanced")])
def test_unequal_classes_are_drawn_equally_often(imbalance: float, sampler: str) -> None:
    images = replace(FLOWERS, imbalance=imbalance)
    recipe = Recipe.read(choose_recipe(Path("/f"), images, LAPTOP, {"macs": {"max": 50e6}}, 30, 0.5))
    assert recipe.fit.sampler == sampler
    assert recipe.training.sampler == "uniform"


def test_unequal_classes_are_counted_and_explained(tmp_path: Path) -> None:
    """30 images of a cat and 3 of a dog are for training: after a test share of a quarter."""
    for name, count in {"cat": 40, "dog": 4}.items():
        (tmp_path / name).mkdir()
        for number in range(count):
            pixels = np.full((40, 40, 3), 5 * number, dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    images = inspect_images(tmp_path, test=0.25)
    assert images.imbalance == 10
    recipe = Recipe.read(choose_recipe(tmp_path, images, LAPTOP, {"macs": {"max": 5e6}}, 30, 0.5))
    by_class = ClassAccuracy.of(["cat", "dog"], [[0, 0, 4], [1, 0, 1]])
    figures = {"architecture": "net", "top1": 80.0, "macs": 1e6, "params": 1e5, "latency_ms": None, "warning": None}
    files = dict.fromkeys(("file", "card", "report", "recipe"), "x")
    assert explain_choices(recipe, images, LAPTOP, 30)[-1] == (
        "classes: the largest has 10 times the training images of the smallest, so stand-alone training draws each "
        "class equally often"
    )
    lines = describe_result({**figures, "by_class": by_class.describe()}, files)
    assert lines[1].startswith("result: test top-1 80.00 %")
    assert lines[2] == (
        "balanced accuracy 50.00 %, the mean over 2 classes; the weakest class is dog: 0.00 % of 1 test image"
    )


def test_more_minutes_give_more_epochs() -> None:
    short, long = (
        Recipe.read(choose_recipe(Path("/f"), FLOWERS, LAPTOP, {"macs": {"max": 50e6}}, minutes, 0.5))
        for minutes in (30, 300)
    )
    assert sum(long.method["epochs"]) > sum(short.method["epochs"])
    assert long.search["generations"] >= short.search["generations"]
    assert long.fit.epochs > short.fit.epochs


def test_the_cost_of_the_front_is_limited() -> None:
    both = {"macs": {"max": 50e6}, "params": {"max": 1e6}}
    for budget, cost in ((both, None), ({"params": {"max": 1e6}}, "params")):
        content = choose_recipe(Path("/f"), FLOWERS, LAPTOP, budget, 30, 0.5)
        assert content["search"].get("cost") == cost
    content = choose_recipe(Path("/f"), FLOWERS, LAPTOP, {"latency_ms": {"max": 5.0}}, 30, 0.5, Path("/table.csv"))
    assert content["search"]["cost"] == "latency_ms"
    assert content["latency"] == {"path": "/table.csv"}


def test_the_tightest_limit_has_a_least_cost() -> None:
    space = load("proxylessnas", width=0.25, resolution=32)
    generator = np.random.default_rng(1)
    median = np.median(space.costs().cost([space.sample(generator) for _ in range(200)])["macs"])
    limits = {"macs": 0.8 * float(median), "params": 1e9}
    budget = choose_budget(space, space.costs(), limits)
    assert budget == {"macs": {"min": 0.85 * limits["macs"], "max": limits["macs"]}, "params": {"max": 1e9}}


def test_a_limit_above_every_architecture_gets_no_least_cost() -> None:
    space = load("proxylessnas", width=0.25, resolution=32)
    assert choose_budget(space, space.costs(), {"macs": 1e12}) == {"macs": {"max": 1e12}}


def test_timing_a_step_restores_the_threads() -> None:
    import torch

    before = torch.get_num_threads()
    space = load("nas-bench-macro", width=0.25, resolution=16)
    assert 0 < median_step_seconds(space, 4) < 60
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("folder", "limits", "sentence"),
    [
        ("images", {}, "Give at least one limit"),
        ("images", {"macs": "much"}, "macs"),
        ("nowhere", {"macs": "5M"}, "There is nothing at"),
        ("images", {"macs": "10"}, "is met by no architecture"),
    ],
)
def test_wrong_input_is_refused(folder: str, limits: dict[str, str], sentence: str, tmp_path: Path) -> None:
    write_folder(tmp_path / "images")
    with pytest.raises(UserError, match=sentence):
        run_auto(str(tmp_path / folder), limits, 1, str(tmp_path / "run"), Quiet(), False)
    assert not (tmp_path / "run.yaml").exists()


def test_a_recipe_for_other_limits_is_kept(tmp_path: Path) -> None:
    write_folder(tmp_path / "images")
    content = choose_recipe(
        tmp_path / "images", inspect_images(tmp_path / "images"), LAPTOP, {"macs": {"max": 5e6}}, 1, 0.01
    )
    import yaml

    (tmp_path / "run.yaml").write_text(before := yaml.safe_dump(content))
    with pytest.raises(UserError, match="is a recipe for other images or limits"):
        run_auto(str(tmp_path / "images"), {"macs": "6M"}, 1, str(tmp_path / "run"), Quiet(), False)
    assert (tmp_path / "run.yaml").read_text() == before


def test_the_choices_and_an_estimate_are_said_before_the_run() -> None:
    budget = {"macs": {"min": 42.5e6, "max": 50e6}}
    images = ImageFolderSummary(classes=2, train=1000, test=300, side=300, names=("daisy", "rose"))
    recipe = Recipe.read(choose_recipe(Path("/flowers"), images, Machine(2, 0, "a laptop"), budget, 60, 0.2))
    lines = list(announce(recipe, images, Machine(2, 0, "a laptop"), 60, 0.2))
    keys = ("images", "resolution", "machine", "space", "budget", "method", "schedule", "estimate")
    assert tuple(line.partition(":")[0] for line in lines) == keys
    assert "1,000 for training, 300 for testing, 2 classes (daisy, rose), shorter side 300 pixels" in lines[0]
    assert lines[2] == "machine: a laptop; training on 2 of 2 cores, 2 evaluators"
    assert lines[4] == "budget: macs from 42,500,000 to 50,000,000"
    assert f"{sum(recipe.method['epochs'])} epochs of supernet training" in lines[6]
    assert "for about 60 minutes" in lines[6]
    assert "finished steps" in list(announce(recipe, images, LAPTOP, 60, None))[-1]


@pytest.mark.parametrize("minutes", [30, 60, 100])
def test_the_estimate_is_near_the_minutes_that_were_wished(minutes: float) -> None:
    recipe = Recipe.read(choose_recipe(Path("/f"), FLOWERS, LAPTOP, {"macs": {"max": 50e6}}, minutes, 0.5))
    parts = estimate_minutes(recipe, FLOWERS, LAPTOP, 0.5)
    assert tuple(parts) == ("start", "supernet training", "search", "stand-alone training")
    assert 0.6 * minutes <= sum(parts.values()) <= 1.1 * minutes


def test_one_is_singular() -> None:
    recipe = Recipe.read(choose_recipe(Path("/f"), FLOWERS, Machine(1, 0, "x"), {"macs": {"max": 50e6}}, 1, 0.5))
    text = "\n".join(explain_choices(recipe, FLOWERS, Machine(1, 0, "x"), 1))
    assert "1 of 1 core, 1 evaluator\n" in text
    assert "about 1 minute:" in text
