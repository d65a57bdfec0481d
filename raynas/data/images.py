"""Decoded images: the driver prepares them once, and every process maps them into memory."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from raynas.data.cache import ensure_cached
from raynas.data.channels import channel_statistics
from raynas.data.decoded_images import DecodedImages, count_bytes, decode_images, open_pixels
from raynas.data.decoding import describe_unreadable
from raynas.data.remarks import describe_images, warn
from raynas.data.settings import DataSettings, PreparedData
from raynas.data.sources import Source, read_source
from raynas.data.splits import (
    Selection,
    assign_parts,
    choose_classes,
    choose_images,
    draw_recalibration_rows,
    hash_parts,
)
from search_spaces.errors import UserError
from search_spaces.validation import absolute

DataPart = Literal["train", "validation", "all-training", "test"]


@dataclass(frozen=True)
class Images:
    """The images of a run. A row is the number of an image; it is the same in every process.

    Attributes:
        prepared: the specification of the images.
        pixels: uint8, shape (N, H, H, 3), red, green and blue, mapped from the node's cache. H is the resolution. With
            the augmentation `random-resized-crop` it is 8/7 of the resolution.
        labels: shape (N,), indices into `prepared.classes`.
        split: one row for each image, with `index` (its number in the training or test set), `label` and `part`.
    """

    prepared: PreparedData
    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    split: pd.DataFrame

    def rows(self, part: DataPart) -> NDArray[np.int64]:
        """Return the rows of a part in ascending order. `all-training` is `train` and `validation` together."""
        parts = ("train", "validation") if part == "all-training" else (part,)
        return np.flatnonzero(self.split["part"].isin(parts))

    def recalibration_rows(self, count: int) -> NDArray[np.int64]:
        """Return `count` training rows for batch-norm statistics, or all rows if there are fewer. They never change."""
        return draw_recalibration_rows(self.rows("train"), count, self.prepared.seed)


def read_originals(images: Images, rows: Collection[int]) -> list[Image.Image]:
    """Return images as they are in the data set, of any size and mode.

    Raises:
        UserError: if the data set is no longer on this machine.
    """
    source = read_source(images.prepared.settings, images.prepared.seed)
    of_part, parts = images.split["index"].to_numpy(), images.split["part"].to_numpy()
    return [source.image(int(of_part[row]) + (source.train_count if parts[row] == "test" else 0)) for row in rows]


def prepare(settings: DataSettings, resolution: int, seed: int) -> PreparedData:
    """Read the data set, split it, decode it into this node's cache and return its specification.

    Raises:
        UserError: if the data set or its settings are not valid.
    """
    if settings.path is not None:
        settings = DataSettings(**{**dict(settings), "path": absolute(settings.path)})
    source = read_source(settings, seed)
    side = stored_side(settings, resolution)
    unreadable: tuple[int, ...] = ()
    remarks = list(source.remarks)
    while True:
        selection, names = _select_images(source, settings, seed, unreadable)
        folder = _cached(source, selection, side, settings)
        decoded = DecodedImages.read(folder)
        if not decoded.faults:
            break
        faults = describe_unreadable(decoded.faults, len(decoded.digests))
        if settings.unreadable == "refuse":
            shutil.rmtree(folder, ignore_errors=True)
            raise UserError(f"{faults}. Repair or remove them, or set data.unreadable to skip, which leaves them out.")
        remarks.append(f"skipped {faults}")
        unreadable = (*unreadable, *(source.number(selection, row) for row in decoded.unreadable))
    table = assign_parts(selection, names, settings.validation, seed)
    split = hash_parts(table)
    mean, std = channel_statistics(folder, np.flatnonzero(table["part"] == "train"), seed, split)
    return PreparedData(
        settings=settings,
        resolution=resolution,
        seed=seed,
        fingerprint=source.fingerprint,
        selection=selection.sha256(),
        split=split,
        classes=names,
        counts={part: int((table["part"] == part).sum()) for part in ("train", "validation", "test")},
        largest_test_class=_largest_class(table, names),
        unreadable=unreadable,
        remarks=(describe_images(table, names, decoded), *remarks, *warn(table, names, decoded)),
        mean=mean,
        std=std,
    )


def open_images(specification: PreparedData | Mapping[str, Any]) -> Images:
    """Open the images of a specification. If they are not in this node's cache, decode them first.

    Args:
        specification: the value of `prepare`, or its JSON.

    Raises:
        UserError: if this node has to decode the images and its data differs from the driver's.
    """
    prepared = PreparedData.model_validate(specification)
    side = stored_side(prepared.settings, prepared.resolution)

    def decode_here(aside: Path) -> None:
        source = read_source(prepared.settings, prepared.seed)
        if source.fingerprint != prepared.fingerprint:
            raise UserError(
                f"The data at {prepared.settings.path} is not what the run began with. Copy the driver's data to this "
                "node, or set data.path to a folder that all nodes share."
            )
        selection, _ = _select_images(source, prepared.settings, prepared.seed, prepared.unreadable)
        decode_images(source, selection, side, prepared.settings.background, aside)

    key = _cache_key(prepared.fingerprint, prepared.selection, side, prepared.settings)
    folder = ensure_cached(key, decode_here, lambda: count_bytes(sum(prepared.counts.values()), side))
    selection = DecodedImages.read(folder).selection
    table = assign_parts(selection, prepared.classes, prepared.settings.validation, prepared.seed)
    if hash_parts(table) != prepared.split:
        raise RuntimeError(
            "This process splits the data differently from the driver. Install the driver's version of numpy on all "
            "nodes."
        )
    return Images(prepared, open_pixels(folder), selection.labels, table)


def _select_images(
    source: Source, settings: DataSettings, seed: int, without: Collection[int]
) -> tuple[Selection, tuple[str, ...]]:
    """Return the images to use and the names of their classes."""
    classes = choose_classes(source.classes, settings.classes, seed)
    selection = choose_images(
        source.labels,
        source.train_count,
        source.classes,
        classes,
        settings.fraction,
        seed,
        source.held_out,
        without,
    )
    return selection, tuple(source.classes[index] for index in classes)


def stored_side(settings: DataSettings, resolution: int) -> int:
    """Return the side in pixels of the decoded images; `random-resized-crop` measures on their middle."""
    return round(resolution * 8 / 7) if settings.augment == "random-resized-crop" else resolution


def _largest_class(table: pd.DataFrame, names: tuple[str, ...]) -> tuple[str, float]:
    counts = np.bincount(table["label"][table["part"] == "test"], minlength=len(names))
    return names[int(counts.argmax())], float(counts.max() / counts.sum())


def _cached(source: Source, selection: Selection, side: int, settings: DataSettings) -> Path:
    """Return the folder of the decoded images in this node's cache."""
    key = _cache_key(source.fingerprint, selection.sha256(), side, settings)

    def decode(aside: Path) -> None:
        decode_images(source, selection, side, settings.background, aside)

    return ensure_cached(key, decode, lambda: count_bytes(len(selection.indices), side))


def _cache_key(fingerprint: str, selection: str, side: int, settings: DataSettings) -> str:
    colour = "" if settings.background == "white" else f"-{settings.background.lstrip('#')}"
    return f"decoded/{fingerprint[:20]}-{selection[:20]}-{side}{colour}"
