"""Decoded images: prepared once by the driver, mapped into memory by every process, and batched for a network."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from raynas.data import augmentation
from raynas.data.cache import cached
from raynas.data.settings import DataSettings, PreparedData
from raynas.data.sources import Source, read_source
from raynas.data.splits import Selection, choose_classes, parts_sha256, recalibration_rows, select, split
from search_spaces.errors import UserError
from search_spaces.validation import absolute

DataPart = Literal["train", "validation", "all-training", "test"]

_STATISTICS_IMAGES = 20_000
_CHUNK = 256


@dataclass(frozen=True)
class Images:
    """The images of a run. A row is a number below `len(labels)`, the same in every process.

    Attributes:
        prepared: what they were opened from.
        pixels: uint8, shape (N, H, H, 3), red, green and blue, mapped from the node's cache. H is the resolution, or
            8/7 of it where training crops and resizes at random.
        labels: shape (N,), indices into `prepared.classes`.
        split: a row an image: `index` (in the data set's training or test images), `label`, `part`.
    """

    prepared: PreparedData
    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    split: pd.DataFrame

    def rows(self, part: DataPart) -> NDArray[np.int64]:
        """The rows of a part, rising. A search reads `train` and `validation`; `all-training` is both of them."""
        parts = ("train", "validation") if part == "all-training" else (part,)
        return np.flatnonzero(self.split["part"].isin(parts))

    def recalibration(self, count: int) -> NDArray[np.int64]:
        """`count` training rows (or all, where there are fewer), always the same, for batch-norm statistics."""
        return recalibration_rows(self.rows("train"), count, self.prepared.seed)


def prepare(settings: DataSettings, resolution: int, seed: int) -> PreparedData:
    """Read, choose, split, decode into this node's cache and measure: what the driver does before anything else.

    Raises:
        UserError: for everything that can be wrong with the data or with what is asked of it.
    """
    if settings.path is not None:
        settings = DataSettings(**{**dict(settings), "path": absolute(settings.path)})
    source = read_source(settings)
    selection, names = _select(source, settings, seed)
    table = split(selection, names, settings.validation, seed)
    side = _stored_side(settings, resolution)
    folder = cached(
        _key(source.fingerprint, selection.sha256(), side), lambda aside: _decode(source, selection, side, aside)
    )
    mean, std = _channel_statistics(_map(folder), np.flatnonzero(table["part"] == "train"), seed)
    return PreparedData(
        settings=settings,
        resolution=resolution,
        seed=seed,
        fingerprint=source.fingerprint,
        selection=selection.sha256(),
        split=parts_sha256(table),
        classes=names,
        counts={part: int((table["part"] == part).sum()) for part in ("train", "validation", "test")},
        mean=mean,
        std=std,
    )


def open_images(specification: PreparedData | Mapping[str, Any]) -> Images:
    """The images that `prepare` described, or its JSON; decoded here if this node has not got them yet.

    Raises:
        UserError: if this node has to decode them, and finds other data at the path than the driver did.
    """
    prepared = PreparedData.model_validate(specification)
    side = _stored_side(prepared.settings, prepared.resolution)

    def decode_here(aside: Path) -> None:
        source = read_source(prepared.settings)
        if source.fingerprint != prepared.fingerprint:
            raise UserError(
                f"The data at {prepared.settings.path} is not what the run began with; every node needs the same."
            )
        _decode(source, _select(source, prepared.settings, prepared.seed)[0], side, aside)

    folder = cached(_key(prepared.fingerprint, prepared.selection, side), decode_here)
    with np.load(folder / "selection.npz", allow_pickle=False) as file:
        selection = Selection(file["indices"], file["labels"], int(file["train_count"]))
    table = split(selection, prepared.classes, prepared.settings.validation, prepared.seed)
    if parts_sha256(table) != prepared.split:
        raise RuntimeError(
            "this process splits the data otherwise than the driver did: has it another version of numpy?"
        )
    return Images(prepared, _map(folder), selection.labels, table)


def batch(images: Images, rows: NDArray[np.int64], device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Images as they are: floats, normalised, channels-last, shape (N, 3, resolution, resolution), and labels (N,)."""
    pixels, labels = _gather(images, rows, device)
    return _normalised(augmentation.centre_crop(pixels, images.prepared.resolution), images.prepared), labels


def training_batch(
    images: Images,
    rows: NDArray[np.int64],
    seed: int,
    epoch: int,
    step: int,
    share: slice = slice(None),
    device: torch.device | str = "cpu",
    cutout: int = 0,
    policy: str = "none",
) -> tuple[Tensor, Tensor]:
    """Images augmented as the recipe says, otherwise as `batch` gives them.

    Args:
        rows: the global batch of this step; what happens to an image follows from seed, epoch, step and its place here.
        share: which part of the global batch to return.
        cutout: side in pixels of the square to blank in each image; 0 for none.
        policy: by which each image is changed first; a name that `augmentation.by_policy` knows, or `none`.
    """
    drawn = augmentation.uniform_numbers(len(rows), seed, epoch, step)[share]
    numbers = torch.from_numpy(drawn.astype(np.float32)).to(device)
    pixels, labels = _gather(images, rows[share], "cpu" if policy != "none" else device)
    if policy != "none":
        seeds = augmentation.policy_seeds(len(rows), seed, epoch, step)[share]
        pixels = augmentation.by_policy(pixels, policy, seeds).to(device, non_blocking=True)
        labels = labels.to(device, non_blocking=True)
    match images.prepared.settings.augment:
        case "random-resized-crop":
            resolution = images.prepared.resolution
            inputs = augmentation.random_resized_crop(_normalised(pixels, images.prepared), numbers, resolution)
        case "none":
            inputs = _normalised(pixels, images.prepared)
        case augment:
            cropped = augmentation.crop(pixels, numbers, mirror=augment == "crop-flip")
            inputs = _normalised(cropped, images.prepared)
    return (augmentation.cutout(inputs, numbers, cutout) if cutout else inputs), labels


def _gather(images: Images, rows: NDArray[np.int64], device: torch.device | str) -> tuple[Tensor, Tensor]:
    pixels, labels = torch.from_numpy(images.pixels[rows]), torch.from_numpy(images.labels[rows])
    return pixels.to(device, non_blocking=True), labels.to(device, non_blocking=True)


def _normalised(pixels: Tensor, prepared: PreparedData) -> Tensor:
    """uint8 (N, H, W, 3) to floats (N, 3, H, W): a view of the same order in memory, which is channels-last."""
    mean, std = (torch.tensor(values, device=pixels.device) * 255 for values in (prepared.mean, prepared.std))
    return pixels.float().sub_(mean).div_(std).permute(0, 3, 1, 2)


def _select(source: Source, settings: DataSettings, seed: int) -> tuple[Selection, tuple[str, ...]]:
    """The images that are used, and the names of their classes."""
    classes = choose_classes(source.classes, settings.classes, seed)
    selection = select(source.labels, source.train_count, source.classes, classes, settings.fraction, seed)
    return selection, tuple(source.classes[index] for index in classes)


def _stored_side(settings: DataSettings, resolution: int) -> int:
    return round(resolution * 8 / 7) if settings.augment == "random-resized-crop" else resolution


def _key(fingerprint: str, selection: str, side: int) -> str:
    return f"images/{fingerprint[:20]}-{selection[:20]}-{side}"


def _map(folder: Path) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = np.load(folder / "pixels.npy", mmap_mode="r")
    return pixels


def _decode(source: Source, selection: Selection, side: int, folder: Path) -> None:
    """Resize the shorter side to `side` (bilinear, antialiased), cut the middle square, repeat grey to RGB."""
    count = len(selection.indices)
    numbers = selection.indices + np.where(np.arange(count) < selection.train_count, 0, source.train_count)
    pixels = np.lib.format.open_memmap(folder / "pixels.npy", "w+", np.uint8, (count, side, side, 3))

    def decode_chunk(start: int) -> None:
        for row in range(start, min(start + _CHUNK, count)):
            image = source.image(int(numbers[row])).convert("RGB")
            pixels[row] = ImageOps.fit(image, (side, side), Image.Resampling.BILINEAR)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(decode_chunk, range(0, count, _CHUNK)):
            pass
    pixels.flush()
    np.savez(
        folder / "selection.npz", indices=selection.indices, labels=selection.labels, train_count=selection.train_count
    )


def _channel_statistics(
    pixels: NDArray[np.uint8], rows: NDArray[np.int64], seed: int
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and standard deviation of each channel (0..1) over these rows, or over 20,000 of them.

    Sums are whole numbers, so every machine finds the same.
    """
    rows = np.sort(recalibration_rows(rows, _STATISTICS_IMAGES, seed))
    total, squares = [0, 0, 0], [0, 0, 0]
    for start in range(0, len(rows), _CHUNK):
        chunk = pixels[rows[start : start + _CHUNK]].astype(np.int64)
        for channel in range(3):
            total[channel] += int(chunk[..., channel].sum())
            squares[channel] += int((chunk[..., channel] ** 2).sum())
    count = len(rows) * pixels.shape[1] * pixels.shape[2]
    means = [each / (255 * count) for each in total]
    variances = [(count * square - each**2) / (255 * count) ** 2 for each, square in zip(total, squares, strict=True)]
    stds = [max(math.sqrt(variance), 1 / 255) for variance in variances]
    return (means[0], means[1], means[2]), (stds[0], stds[1], stds[2])
