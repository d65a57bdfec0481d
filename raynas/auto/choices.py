"""What `raynas auto` chooses: pure functions of the images, the limits, the machine and the minutes.

Nothing is chosen by looking at accuracies.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from raynas.data import DataSettings
from raynas.data.sources import read_source
from raynas.runtime.process import cpu_model
from search_spaces.loading import load

if TYPE_CHECKING:
    from search_spaces import SearchSpace

SPACE = "proxylessnas"
WIDTHS = (0.125, 0.25, 0.35, 0.5, 0.75, 1.0, 1.4)
_RESOLUTIONS = (32, 48, 64, 96, 128, 160, 192, 224)
_SAMPLED = 64
_LOOKED_AT = 200
"""Images whose sizes are looked at."""
_STEP_SECONDS = 12
"""What each step of a run takes before its first image (benchmarks/ray_share)."""
_SHARES = {"supernet": 0.45, "search": 0.2, "fit": 0.35}
_MOST_EPOCHS = {"supernet": 120, "fit": 240}
_LEAST_EPOCHS = {"supernet": 6, "fit": 10}
_SHORT_MINUTES = 8
"""With fewer, the space is not pruned between searches: a step's start would be too much of the time."""
_POPULATION = 32
_FORWARD = 1 / 3
"""Of a training step's time, what its images take in evaluation."""


@dataclass(frozen=True)
class ImageFolderSummary:
    """What a folder of images holds.

    Attributes:
        side: the shorter side of the middle one of those that were looked at, in pixels.
    """

    classes: int
    train: int
    test: int
    side: int


@dataclass(frozen=True)
class Machine:
    """What the search may use."""

    cores: int
    gpus: int
    name: str


def look_at_images(folder: Path) -> ImageFolderSummary:
    """Raises UserError if the folder is not one of images, as the recipe's data is."""
    source = read_source(DataSettings(name="folder", path=folder))
    generator = np.random.default_rng(0)
    rows = generator.choice(source.train_count, min(_LOOKED_AT, source.train_count), replace=False)
    sides = [min(source.image(int(row)).size) for row in rows]
    test = len(source.labels) - source.train_count
    return ImageFolderSummary(len(source.classes), source.train_count, test, int(np.median(sides)))


def look_at_machine() -> Machine:
    gpus = torch.cuda.device_count()
    return Machine(os.cpu_count() or 1, gpus, torch.cuda.get_device_name(0) if gpus else cpu_model())


def resolution_of(side: int) -> int:
    """The images' size, up to 224 pixels: larger ones are made smaller, small ones are not blown up beyond 32."""
    return max(size for size in _RESOLUTIONS if size <= max(side, _RESOLUTIONS[0]))


def strides_of(resolution: int, num_classes: int, limits: Mapping[str, float]) -> dict[str, Any]:
    """The first strides with which the narrowest space's cheapest architecture takes at most half of every limit.

    The first leave the last layers 7 or 8 pixels, as published for 224; the others fewer.
    """
    if resolution >= 160:
        layouts = [{}, {"stem_stride": 2, "stage_strides": [2, 2, 2, 2, 1, 2, 1]}]
    elif resolution >= 96:
        layouts = [{"stem_stride": 2, "stage_strides": [1, 2, 2, 1, 1, 2, 1]}, {}]
    elif resolution >= 64:
        layouts = [{"stem_stride": 2, "stage_strides": [1, 1, 2, 1, 1, 2, 1]}]
        layouts += [{"stem_stride": 2, "stage_strides": [1, 2, 2, 1, 1, 2, 1]}]
    else:
        layouts = [{"stem_stride": stem, "stage_strides": [1, 1, 2, 1, 1, 2, 1]} for stem in (1, 2)]
    counted = _counted(limits)
    for layout in layouts:
        bounds = _space(WIDTHS[0], resolution, num_classes, layout).costs().bounds()
        if all(bounds[key][0] <= most / 2 for key, most in counted.items()):
            return layout
    return layouts[-1]


def width_of(resolution: int, num_classes: int, limits: Mapping[str, float], strides: Mapping[str, Any]) -> float:
    """The width at which a middling architecture costs nearest to what the tightest limit leaves.

    Where latency alone is limited it is half of the published width.
    """
    counted = _counted(limits)

    def distance(width: float) -> float:
        space = _space(width, resolution, num_classes, strides)
        generator = np.random.default_rng(0)
        costs = space.costs().cost([space.sample(generator) for _ in range(_SAMPLED)])
        return abs(math.log(max(float(costs[key].double().median()) / max(most, 1) for key, most in counted.items())))

    return min(WIDTHS, key=distance) if counted else 0.5


def _counted(limits: Mapping[str, float]) -> dict[str, float]:
    return {key: most for key, most in limits.items() if key != "latency_ms"}


def _space(width: float, resolution: int, num_classes: int, strides: Mapping[str, Any]) -> SearchSpace:
    return load(SPACE, width=width, resolution=resolution, num_classes=num_classes, **strides)


def epochs_of(minutes: float, step_seconds: float, steps: int, durable_steps: int, stage: str) -> int:
    """How many epochs fit into a stage's share of the time, when this many steps of a run start.

    Args:
        step_seconds: of one training step; `steps` of them are an epoch.
    """
    left = max(60 * minutes - _STEP_SECONDS * durable_steps, 0) * _SHARES[stage]
    return max(_LEAST_EPOCHS[stage], min(_MOST_EPOCHS[stage], int(left / (step_seconds * steps))))


def batch_size_of(train: int, workers: int) -> int:
    """At least 20 steps an epoch where there are so many images, 16 to 256 a step, and some for every worker."""
    filling = 1 << max(0, train // 20).bit_length() - 1 if train >= 20 else 1
    return max(workers, min(256, max(16, filling)))


def workers_of(machine: Machine) -> int:
    return machine.gpus or max(1, min(machine.cores // 2, 8))


def space_of(images: ImageFolderSummary, limits: Mapping[str, float]) -> dict[str, Any]:
    """The space's name and settings."""
    resolution = resolution_of(images.side)
    strides = strides_of(resolution, images.classes, limits)
    width = width_of(resolution, images.classes, limits, strides)
    return {"name": SPACE, "width": width, "resolution": resolution, **strides}


def recipe_of(
    folder: Path,
    images: ImageFolderSummary,
    machine: Machine,
    limits: Mapping[str, float],
    minutes: float,
    step_seconds: float,
    latency: Path | None = None,
) -> dict[str, Any]:
    """The recipe, as YAML has it.

    Args:
        step_seconds: of training one middling network on a batch, on one worker.
        latency: the table of the machine, where latency is limited.
    """
    workers = workers_of(machine)
    batch = batch_size_of(images.train, workers)
    short = minutes < _SHORT_MINUTES
    durable = 4 if short else 8
    steps, seconds = max(images.train // batch, 1), step_seconds / workers
    epochs = epochs_of(minutes, seconds, steps, durable, "supernet")
    searches = 1 if short else 3
    left = max(60 * minutes - _STEP_SECONDS * durable, 0) * _SHARES["search"] / searches
    held_out = max(0.2 * images.train, images.classes)
    each = _FORWARD * step_seconds * (held_out + 4 * batch) / batch / max(machine.cores // 2, 1)
    generations = max(4, min(40, int(left / (_POPULATION * each))))
    parts = [epochs] if short else [max(1, round(epochs * part)) for part in (0.6, 0.25, 0.15)]
    rate = 0.1 * min(1.0, batch / 64)
    method: dict[str, Any] = {"name": "spos"}
    if not short:
        method = {"name": "pad-nas", "stages": 4, "epochs": parts, "learning_rates": [rate, rate / 2, rate / 2]}
    augment = "crop-flip" if resolution_of(images.side) < 160 else "random-resized-crop"
    least = images.train // images.classes
    recipe: dict[str, Any] = {
        "method": method,
        "space": space_of(images, limits),
        "data": {
            "name": "folder",
            "path": str(folder),
            "validation": 0.2 if least >= 10 else 1,
            "augment": augment,
        },
        "budget": {key: {"max": most} for key, most in limits.items()},
        "training": {"batch_size": batch, **({"epochs": epochs, "learning_rate": rate} if short else {})},
        "search": {"population": _POPULATION, "generations": generations},
        "evaluation": {"recalibration_images": 4 * batch, "recalibration_batch_size": batch},
        "fit": {
            "epochs": epochs_of(minutes, seconds, steps, durable, "fit"),
            "batch_size": batch,
            "learning_rate": rate,
            "schedule": "cosine",
            "warmup_epochs": 1,
            "label_smoothing": 0.1,
            "ema": 0.99,
        },
        "scale": {
            "train": {"workers": workers},
            "evaluate": {"actors": machine.gpus or max(1, machine.cores // 2)},
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
