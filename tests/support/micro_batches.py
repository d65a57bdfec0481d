"""Batches of images, split into micro-batches."""

from __future__ import annotations

from torch import Tensor

from raynas.interfaces.objective import MicroBatch


def split_batch(images: Tensor, labels: Tensor, parts: int) -> list[MicroBatch]:
    """Split a global batch into micro-batches of equal size."""
    size = len(images) // parts
    return [
        MicroBatch(images[first : first + size], labels[first : first + size], size / len(images))
        for first in range(0, len(images), size)
    ]
