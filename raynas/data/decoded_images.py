"""Decode the chosen images of a data set into a folder of the cache, in one pass over all of them."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from raynas.data.decoding import UNREADABLE, middle_square, to_rgb
from raynas.data.disk_room import allocate
from raynas.data.sources import Source, UnreadableImage
from raynas.data.splits import Selection

_CHUNK = 256


@dataclass(frozen=True)
class DecodedImages:
    """What the folder of the cache holds beside the pixels.

    Attributes:
        selection: the images, in the order of the pixels.
        digests: a digest of each whole decoded image, shape (N,), uint64. Equal images have equal digests.
        sides: the shorter and the longer side of each image, shape (N, 2), in pixels.
        warnings: sentences of the decoder, each with the number of images.
        unreadable: the rows of the images that cannot be decoded. If there are any, there are no pixels.
        faults: for each of these, the file with the reason.
    """

    selection: Selection
    digests: NDArray[np.uint64]
    sides: NDArray[np.int64]
    warnings: dict[str, int]
    unreadable: tuple[int, ...]
    faults: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path) -> DecodedImages:
        """Read the folder of the cache."""
        with np.load(folder / "selection.npz", allow_pickle=False) as file:
            selection = Selection(file["indices"], file["labels"], int(file["train_count"]), file["held_out"])
            digests, sides = file["digests"], file["sides"]
        notes = json.loads((folder / "decoding.json").read_text(encoding="utf-8"))
        return cls(selection, digests, sides, notes["warnings"], tuple(notes["unreadable"]), tuple(notes["faults"]))


def count_bytes(count: int, side: int) -> int:
    """Return about how many bytes `decode_images` writes: the pixels of `count` images, and 64 bytes of notes each."""
    return count * (3 * side * side + 64)


def decode_images(source: Source, selection: Selection, side: int, background: str, folder: Path) -> None:
    """Decode the images and write them into a folder: `pixels.npy`, `selection.npz` and `decoding.json`.

    Of each image `middle_square` is kept.
    """
    count = len(selection.indices)
    numbers = [source.number(selection, row) for row in range(count)]
    pixels = np.lib.format.open_memmap(folder / "pixels.npy", "w+", np.uint8, (count, side, side, 3))
    allocate(folder / "pixels.npy")
    digests, sides = np.zeros(count, dtype=np.uint64), np.zeros((count, 2), dtype=np.int64)
    faults: dict[int, str] = {}

    def decode(row: int) -> None:
        try:
            image = to_rgb(source.image(numbers[row]), background)
        except UnreadableImage as error:
            faults[row] = str(error)
            return
        except UNREADABLE as error:
            faults[row] = f"image {numbers[row]} ({error})"
            return
        digest = hashlib.sha256(repr(image.size).encode() + image.tobytes())
        digests[row] = int.from_bytes(digest.digest()[:8], "little")
        sides[row] = sorted(image.size)
        pixels[row] = middle_square(image, side)

    def decode_chunk(start: int) -> None:
        for row in range(start, min(start + _CHUNK, count)):
            decode(row)

    with warnings.catch_warnings(record=True) as caught, ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.simplefilter("always")
        for _ in pool.map(decode_chunk, range(0, count, _CHUNK)):
            pass
    pixels.flush()
    if faults:
        (folder / "pixels.npy").unlink()
    np.savez(
        folder / "selection.npz",
        indices=selection.indices,
        labels=selection.labels,
        train_count=selection.train_count,
        held_out=selection.held_out,
        digests=digests,
        sides=sides,
    )
    rows = sorted(faults)
    notes = {
        "warnings": Counter(" ".join(str(warning.message).split()) for warning in caught),
        "unreadable": rows,
        "faults": [faults[row] for row in rows],
    }
    (folder / "decoding.json").write_text(json.dumps(notes), encoding="utf-8")


def open_pixels(folder: Path) -> NDArray[np.uint8]:
    """Map the pixels of a folder of the cache, shape (N, side, side, 3)."""
    pixels: NDArray[np.uint8] = np.load(folder / "pixels.npy", mmap_mode="r")
    return pixels
