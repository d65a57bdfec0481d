"""Shipped recipes at a small scale: tiny images of the classes of their data set, and a made-up latency table."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from raynas.recipe.recipe import Recipe
from search_spaces import LatencyTable, load

RESOLUTION = 32
_DATA_SETS = {"folder": (1000, 2), "CIFAR10": (10, 30)}
"""The classes of ImageNet, which the recipes read from a folder, and of CIFAR-10; the training images of each class."""
_FILES = 16
_BLOCK_MS = 2.9
"""All blocks take this time: a network of PAD-NAS's spaces with at most three skips takes 60.9 to 69.6 ms."""


def write_images(folder: Path, classes: int, images: int) -> None:
    """Write training images for each class and a test image for a few classes. All are links to a few files."""
    folder.mkdir()
    noise = np.random.default_rng(0).integers(256, size=(_FILES, 8, 8, 3), dtype=np.uint8)
    for number, pixels in enumerate(noise):
        Image.fromarray(pixels).save(folder / f"{number}.png")
    for number in range(classes):
        for part, count in (("train", images), ("val", int(number % 5 == 0))):
            (folder / part / f"{number:04d}").mkdir(parents=True)
            for image in range(count):
                os.link(folder / f"{(number + image) % _FILES}.png", folder / part / f"{number:04d}" / f"{image}.png")


def small_changes(name: str, images: Path, scratch: Path) -> list[str]:
    """Return the changes that let a shipped recipe run on tiny images of the classes of its data set.

    The data set becomes a folder, the resolution 32 pixels, and a budget of multiply-adds shrinks with the area. The
    few training steps cannot move HM-NAS's masks at the published rates, so these are higher. All other
    settings stay, above all those of the method, the space's choices, `data.classes`, `training` and `fit`.

    Args:
        images: a folder for the folders of images, which several recipes share.
        scratch: an empty folder of the recipe's own.
    """
    recipe = Recipe.read(name)
    if recipe.data.name == "digits":
        return []
    folder = images / recipe.data.name
    if not folder.exists():
        write_images(folder, *_DATA_SETS[recipe.data.name])
    changes = ["data.name=folder", f"data.path={folder}", "data.validation=1", f"space.resolution={RESOLUTION}"]
    settings = {key: value for key, value in recipe.space.items() if key != "name"}
    full, small = (load(recipe.space["name"], **{**settings, **side}) for side in ({}, {"resolution": RESOLUTION}))
    if recipe.latency is not None:
        table = LatencyTable(dict.fromkeys(small.latency_blocks(), _BLOCK_MS), "the table of this test")
        table.write(scratch / "latency.csv")
        changes.append(f"latency.path={scratch / 'latency.csv'}")
    for resource in {"macs", "paper_macs"} & set(recipe.budget.root):
        limit = recipe.budget.root[resource].model_dump(exclude_none=True)
        share = (RESOLUTION / full.resolution) ** 2
        path = f"budget.{resource.removeprefix('paper_')}"
        changes += [f"{path}.{key}={limit[key] * share}" for key in ("min", "max", "target") if key in limit]
    if "mask_rate" in recipe.method:
        changes += ["method.mask_rate=0.01", "method.weight_mask_rate=0.1"]
    return changes


def two_step_changes(recipe: Recipe) -> list[str]:
    """Return the changes for two training steps of a shipped recipe, at a small rate, and for few evaluations."""
    two = {"method.sample_size": "{fixed: 2}"}
    few: dict[str, dict[str, Any]] = {
        "pad-nas": {"method.stages": 2, "method.epochs": [1], "method.learning_rates": [0.01], "training.steps": 2},
        "spos": {"training.epochs": 1, "training.steps": 2},
        "hour-nas": {"method.vital_epochs": 1, "method.epochs": 1, "training.steps": 1},
        "fp-nas": {"method.epochs": 2, "method.warmup_epochs": 1, "method.joint_from": 1, "training.steps": 1, **two},
        "dmasking": {"method.epochs": 2, "method.warmup_epochs": 1, "training.steps": 1},
        "hm-nas": {"training.epochs": 2, "training.steps": 1, "method.warmup_epochs": 1, "fit.steps": 2},
        "darts": {"training.epochs": 1, "training.steps": 2},
        "pc-darts": {"training.epochs": 2, "training.steps": 1, "method.warmup_epochs": 1},
        "ftso": {"method.topology_epochs": 1, "method.topology_steps": 2, "fit.steps": 2},
    }
    trainings = {"batch_size": 4, "accumulate": 1}
    shared = {
        **{f"{group}.{key}": value for group in ("training", "fit") for key, value in trainings.items()},
        "fit.epochs": 1,
        "fit.learning_rate": 0.01,
        "scale": {},
        "evaluation.batch_size": 100,
        "evaluation.recalibration_images": 4,
        "evaluation.recalibration_batch_size": 4,
    }
    if recipe.method["name"] != "pad-nas":  # each of its trainings has its own rate
        shared["training.learning_rate"] = 0.01
    search = {"search.population": 4, "search.generations": 1} if recipe.search else {}
    return [f"{key}={value}" for key, value in {**shared, **search, **few[recipe.method["name"]]}.items()]
