"""The choices of `raynas auto`: pure functions of the images, the limits, the machine and the minutes.

No choice depends on an accuracy.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from raynas.data import DataSettings
from raynas.data.sources import UnreadableImage, read_source
from raynas.data.splits import choose_classes, choose_images
from raynas.recipe.recipe import Recipe
from raynas.runtime.process import cpu_model
from raynas.study.automatic_scale import IMAGES_PER_WORKER
from search_spaces.budget.budget import Budget
from search_spaces.errors import UserError
from search_spaces.loading import load

if TYPE_CHECKING:
    from search_spaces import Costs, SearchSpace

SPACE = "proxylessnas"
WIDTHS = (0.125, 0.25, 0.35, 0.5, 0.75, 1.0, 1.4)
_RESOLUTIONS = (32, 48, 64, 96, 128, 160, 192, 224)
_SAMPLED_ARCHITECTURES = 64
WINDOW = 0.85
"""The least cost of an architecture, as a share of the tightest limit."""
_SAMPLED_IMAGES = 200
DEFAULT_TEST = 0.2
_RUN_START_SECONDS, _STEP_START_SECONDS = 20, 2
"""Seconds until the processes of a run are there, and from the start of each further step to its first image."""
_TIME_SHARES = {"supernet": 0.45, "search": 0.2, "fit": 0.35}
_MAX_EPOCHS = {"supernet": 120, "fit": 240}
_MIN_EPOCHS = {"supernet": 6, "fit": 10}
_IMBALANCE = 10
"""From this imbalance on, stand-alone training draws each class equally often. Below, that gained nothing
(`benchmarks/results/own_images_class_balance.md`)."""
_SHORT_MINUTES = 8
"""Below these minutes the space is not pruned between searches: starting the steps would take too much of the time."""
_STEPS, _SHORT_STEPS, _SEARCHES = 8, 4, 3
"""The durable steps of a run with and without pruning, and the searches of a run with pruning."""
_POPULATION = 32
_EVALUATION_COST = 1 / 3
"""The time to evaluate an image, as a share of the time to train on it."""


@dataclass(frozen=True)
class ImageFolderSummary:
    """The size of a folder of images.

    Attributes:
        train, test: numbers of images.
        side: the median shorter side of a sample of the training images, in pixels.
        imbalance: the training images of the largest class over those of the smallest.
        names: of the classes.
    """

    classes: int
    train: int
    test: int
    side: int
    imbalance: float = 1.0
    names: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Machine:
    """The processors of this machine.

    Attributes:
        name: of its GPU, or without one of its CPU.
    """

    cores: int
    gpus: int
    name: str


def inspect_images(folder: Path, test: float = DEFAULT_TEST) -> ImageFolderSummary:
    """Count the images of a folder and measure a sample of them.

    Args:
        test: the share of each class to test on, if the folder has no test images.

    Raises:
        UserError: if the folder is no folder of images for the `data` of a recipe.
    """
    return inspect_source(DataSettings(name="folder", path=folder, test=test), seed=0)


def inspect_source(settings: DataSettings, seed: int) -> ImageFolderSummary:
    """Count the images of a recipe's `data`, and measure a sample of the training images.

    Raises:
        UserError: if there is no such data set, or if no image can be read.
    """
    source = read_source(settings, seed)
    generator = np.random.default_rng(0)
    rows = generator.choice(source.train_count, min(_SAMPLED_IMAGES, source.train_count), replace=False)
    sides, fault = [], None
    for row in rows:
        try:
            sides.append(min(source.image(int(row)).size))
        except UnreadableImage as error:  # before the run begins, all of them are listed
            fault = error
    if not sides:
        raise UserError(f"No image of a sample of {len(rows)} can be read, for example {fault}. Repair the images.")
    classes = choose_classes(source.classes, settings.classes, seed)
    chosen = choose_images(source.labels, source.train_count, source.classes, classes, settings.fraction, seed)
    test = len(chosen.indices) - chosen.train_count
    counts = np.bincount(chosen.labels[: chosen.train_count], minlength=len(classes))
    imbalance = float(counts.max() / max(counts.min(), 1))
    names = tuple(source.classes[label] for label in classes)
    return ImageFolderSummary(len(classes), chosen.train_count, test, int(np.median(sides)), imbalance, names)


def inspect_machine() -> Machine:
    import torch  # takes a second; wrong images and limits are refused before

    gpus = torch.cuda.device_count()
    return Machine(os.cpu_count() or 1, gpus, torch.cuda.get_device_name(0) if gpus else cpu_model())


def choose_resolution(side: int, num_classes: int, limits: Mapping[str, float]) -> int:
    """Return the largest resolution that is no larger than the images and leaves the search room; else the smallest."""
    resolutions = [size for size in _RESOLUTIONS if size <= max(side, _RESOLUTIONS[0])]
    for resolution in reversed(resolutions):
        if any(_leaves_room(resolution, num_classes, limits, layout) for layout in _layouts(resolution)):
            return resolution
    return resolutions[0]


def choose_strides(resolution: int, num_classes: int, limits: Mapping[str, float]) -> dict[str, Any]:
    """Return the first layout of strides that leaves the search room, or else the last layout."""
    layouts = _layouts(resolution)
    return next((one for one in layouts if _leaves_room(resolution, num_classes, limits, one)), layouts[-1])


def _layouts(resolution: int) -> list[dict[str, Any]]:
    """Return the layouts of strides for a resolution.

    The first leaves the last layers 7 or 8 pixels, as published for 224 pixels. The others leave fewer.
    """
    if resolution >= 160:
        return [{}, {"stem_stride": 2, "stage_strides": [2, 2, 2, 2, 1, 2, 1]}]
    if resolution >= 96:
        return [{"stem_stride": 2, "stage_strides": [1, 2, 2, 1, 1, 2, 1]}, {}]
    if resolution >= 64:
        return [{"stem_stride": 2, "stage_strides": [1, middle, 2, 1, 1, 2, 1]} for middle in (1, 2)]
    return [{"stem_stride": stem, "stage_strides": [1, 1, 2, 1, 1, 2, 1]} for stem in (1, 2)]


def _leaves_room(resolution: int, num_classes: int, limits: Mapping[str, float], layout: Mapping[str, Any]) -> bool:
    """Return whether the cheapest architecture of the narrowest space costs at most half of every limit."""
    bounds = _load_space(WIDTHS[0], resolution, num_classes, layout).costs().bounds()
    return all(bounds[key][0] <= limit / 2 for key, limit in _analytic_limits(limits).items())


def choose_width(resolution: int, num_classes: int, limits: Mapping[str, float], strides: Mapping[str, Any]) -> float:
    """Return the width at which the cost of the median architecture is nearest to the tightest limit.

    If only latency is limited, it is half of the published width.
    """
    analytic = _analytic_limits(limits)

    def distance(width: float) -> float:
        space = _load_space(width, resolution, num_classes, strides)
        generator = np.random.default_rng(0)
        costs = space.costs().cost([space.sample(generator) for _ in range(_SAMPLED_ARCHITECTURES)])
        medians = {key: float(np.quantile(costs[key], 0.5, method="lower")) for key in analytic}
        shares = [medians[key] / max(limit, 1) for key, limit in analytic.items()]
        return abs(math.log(max(shares)))

    return min(WIDTHS, key=distance) if analytic else 0.5


def _analytic_limits(limits: Mapping[str, float]) -> dict[str, float]:
    """Return the limits on costs that need no measurement."""
    return {key: limit for key, limit in limits.items() if key != "latency_ms"}


def _load_space(width: float, resolution: int, num_classes: int, strides: Mapping[str, Any]) -> SearchSpace:
    return load(SPACE, width=width, resolution=resolution, num_classes=num_classes, **strides)


def choose_epochs(minutes: float, step_seconds: float, steps: int, durable_steps: int, phase: str) -> int:
    """Return the number of epochs that fit into the share of the time for a phase of the run.

    Args:
        step_seconds: of one training step; an epoch has `steps` of them.
        durable_steps: of the run; each takes some seconds to start.
        phase: `supernet` or `fit`.
    """
    seconds = _phase_seconds(minutes, durable_steps, phase)
    return max(_MIN_EPOCHS[phase], min(_MAX_EPOCHS[phase], int(seconds / (step_seconds * steps))))


def _phase_seconds(minutes: float, durable_steps: int, phase: str) -> float:
    return max(60 * minutes - _RUN_START_SECONDS - _STEP_START_SECONDS * durable_steps, 0) * _TIME_SHARES[phase]


def choose_batch_size(train: int, workers: int) -> int:
    """Return a power of 2 between 16 and 256 that gives at least 20 training steps an epoch, if 16 does.

    The batch has at least one image for each worker.
    """
    largest = 1 << max(0, train // 20).bit_length() - 1 if train >= 20 else 1
    return max(workers, min(256, max(16, largest)))


def choose_workers(machine: Machine) -> int:
    return machine.gpus or min(machine.cores, 8)


def choose_space(images: ImageFolderSummary, limits: Mapping[str, float]) -> dict[str, Any]:
    """Return the name and the settings of the space."""
    resolution = choose_resolution(images.side, images.classes, limits)
    strides = choose_strides(resolution, images.classes, limits)
    width = choose_width(resolution, images.classes, limits, strides)
    return {"name": SPACE, "width": width, "resolution": resolution, **strides}


def choose_budget(space: SearchSpace, costs: Costs, limits: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Return the budget: all limits, and for the tightest a least cost, as equation 2 of PAD-NAS has it.

    Without a least cost, most architectures of a front cost far less than the limit. The tightest limit is the one that
    the median architecture exceeds most. A limit that no architecture comes near gets no least cost.

    Raises:
        UserError: if no architecture is within the limits.
    """
    budget = {key: {"max": limit} for key, limit in limits.items()}
    Budget.model_validate(budget).check(costs)
    generator = np.random.default_rng(0)
    sampled = costs.cost([space.sample(generator) for _ in range(_SAMPLED_ARCHITECTURES)])
    tightest = max(limits, key=lambda key: float(np.median(sampled[key])) / limits[key])
    window = {**budget, tightest: {"min": WINDOW * limits[tightest], "max": limits[tightest]}}
    try:
        Budget.model_validate(window).check(costs)
    except UserError:
        return budget
    return window


def choose_recipe(
    folder: Path,
    images: ImageFolderSummary,
    machine: Machine,
    budget: Mapping[str, Mapping[str, float]],
    minutes: float,
    step_seconds: float,
    latency: Path | None = None,
    test: float = DEFAULT_TEST,
) -> dict[str, Any]:
    """Return the recipe as plain YAML values.

    Args:
        budget: from `choose_budget`.
        step_seconds: of one training step of the median network, on one worker.
        latency: the latency table of this machine, if latency is limited.
        test: the share of each class to test on, if the folder has no test images.
    """
    limits = {key: limit["max"] for key, limit in budget.items()}
    workers = choose_workers(machine)
    batch = choose_batch_size(images.train, workers)
    is_short = minutes < _SHORT_MINUTES
    durable_steps = _SHORT_STEPS if is_short else _STEPS
    space = choose_space(images, limits)
    workers = workers if machine.gpus else max(1, min(workers, batch // IMAGES_PER_WORKER))
    steps, seconds = max(images.train // batch, 1), step_seconds / workers
    epochs = choose_epochs(minutes, seconds, steps, durable_steps, "supernet")
    rate = 0.1 * min(1.0, batch / 64)
    evaluation_seconds = _evaluation_seconds(images, batch, step_seconds, machine)
    search_seconds = _phase_seconds(minutes, durable_steps, "search") / (1 if is_short else _SEARCHES)
    recipe: dict[str, Any] = {
        "method": {"name": "spos"} if is_short else _pad_nas(epochs, rate),
        "space": space,
        "data": {**_choose_data(folder, images, space["resolution"]), "test": test},
        "budget": {key: dict(limit) for key, limit in budget.items()},
        "training": {"batch_size": batch, **({"epochs": epochs, "learning_rate": rate} if is_short else {})},
        "search": {
            "population": _POPULATION,
            "generations": max(4, min(40, int(search_seconds / (_POPULATION * evaluation_seconds)))),
        },
        "evaluation": {"recalibration_images": 4 * batch, "recalibration_batch_size": batch},
        "fit": {
            "epochs": choose_epochs(minutes, seconds, steps, durable_steps, "fit"),
            "batch_size": batch,
            "learning_rate": rate,
            "schedule": "cosine",
            "warmup_epochs": 1,
            "label_smoothing": 0.1,
            "ema": 0.99,
            **({"sampler": "balanced"} if images.imbalance >= _IMBALANCE else {}),
        },
        "scale": {
            "train": {"workers": workers},
            "evaluate": {"actors": machine.gpus or min(machine.cores, 8)},
        },
        "seed": 0,
    }
    if machine.gpus:
        for group in recipe["scale"].values():
            group["gpus"] = 1
    if latency is not None:
        recipe["latency"] = {"path": str(latency)}
        recipe["search"]["cost"] = "latency_ms"
    elif "macs" not in limits:
        recipe["search"]["cost"] = "params"
    return recipe


def estimate_minutes(
    recipe: Recipe, images: ImageFolderSummary, machine: Machine, step_seconds: float
) -> dict[str, float]:
    """Return the minutes of each part of a run: its start, supernet training, search, stand-alone training.

    Args:
        step_seconds: of a training step of the median network, on one worker.
    """
    is_short = recipe.method["name"] != "pad-nas"
    batch = recipe.fit.batch_size
    epoch_minutes = max(images.train // batch, 1) * step_seconds / recipe.scale.train.workers / 60
    evaluations = recipe.search["population"] * recipe.search["generations"] * (1 if is_short else _SEARCHES)
    epochs = recipe.training.epochs if is_short else sum(recipe.method["epochs"])
    starts = _RUN_START_SECONDS + _STEP_START_SECONDS * (_SHORT_STEPS if is_short else _STEPS)
    return {
        "start": starts / 60,
        "supernet training": epochs * epoch_minutes,
        "search": evaluations * _evaluation_seconds(images, batch, step_seconds, machine) / 60,
        "stand-alone training": recipe.fit.epochs * epoch_minutes,
    }


def _pad_nas(epochs: int, rate: float) -> dict[str, Any]:
    """Return PAD-NAS with these epochs of supernet training in all its stages."""
    epochs_of_stages = [max(1, round(epochs * share)) for share in (0.6, 0.25, 0.15)]
    return {"name": "pad-nas", "stages": 4, "epochs": epochs_of_stages, "learning_rates": [rate, rate / 2, rate / 2]}


def _choose_data(folder: Path, images: ImageFolderSummary, resolution: int) -> dict[str, Any]:
    return {"name": "folder", "path": str(folder), **choose_data_parts(images, resolution)}


def choose_data_parts(images: ImageFolderSummary, resolution: int) -> dict[str, Any]:
    """Return the share or the number of validation images, and the augmentation."""
    images_per_class = images.train // images.classes
    return {
        "validation": 0.2 if images_per_class >= 10 else 1,
        "augment": "crop-flip" if resolution < 160 else "random-resized-crop",
    }


def _evaluation_seconds(images: ImageFolderSummary, batch: int, step_seconds: float, machine: Machine) -> float:
    """Return the seconds to evaluate one architecture: batch-norm recalibration, then the validation images."""
    validation = max(0.2 * images.train, images.classes)
    return _EVALUATION_COST * step_seconds * (validation + 4 * batch) / batch / min(machine.cores, 8)
