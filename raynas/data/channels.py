"""Mean and standard deviation of the red, green and blue channel of the training images."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from raynas.data.cache import keep
from raynas.data.decoded_images import open_pixels
from raynas.data.splits import draw_recalibration_rows

Channels = tuple[float, float, float]
_IMAGES = 20_000
_CHUNK = 256


def channel_statistics(folder: Path, rows: NDArray[np.int64], seed: int, split: str) -> tuple[Channels, Channels]:
    """Return mean and standard deviation (0..1) over at most 20,000 of the rows.

    They are measured once, and lie beside the decoded images from then on.

    Args:
        folder: of the decoded images in the cache.
        split: the hash of the split that the rows come from.
    """
    file = folder / f"channels-{split[:20]}-{seed}.json"
    with suppress(OSError, ValueError):
        mean, std = json.loads(file.read_text(encoding="ascii"))
        return _three(mean), _three(std)
    measured = _measure_channels(open_pixels(folder), rows, seed)
    keep(file, json.dumps(measured))
    return measured


def _three(values: list[float]) -> Channels:
    red, green, blue = values
    return red, green, blue


def _measure_channels(
    pixels: NDArray[np.uint8], rows: NDArray[np.int64], seed: int
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return mean and standard deviation of each channel (0..1) over the rows, at most 20,000 of them.

    The sums are integers, so that every machine computes the same values.
    """
    rows = np.sort(draw_recalibration_rows(rows, _IMAGES, seed))
    levels = np.arange(256)
    counts = np.zeros((3, 256), dtype=np.int64)
    for start in range(0, len(rows), _CHUNK):
        chunk = pixels[rows[start : start + _CHUNK]]
        column = Image.fromarray(chunk.reshape(-1, pixels.shape[2], 3))
        counts += np.array(column.histogram()).reshape(3, 256)
    total, squares = (counts @ levels).tolist(), (counts @ levels**2).tolist()
    count = len(rows) * pixels.shape[1] * pixels.shape[2]
    means = [channel_sum / (255 * count) for channel_sum in total]
    variances = [
        (count * square_sum - channel_sum**2) / (255 * count) ** 2
        for channel_sum, square_sum in zip(total, squares, strict=True)
    ]
    stds = [max(math.sqrt(variance), 1 / 255) for variance in variances]
    return (means[0], means[1], means[2]), (stds[0], stds[1], stds[2])
