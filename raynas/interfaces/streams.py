"""The streams of images that the updates of a training read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raynas.data.images import DataPart

STREAMS: Mapping[str, DataPart] = {"train": "train", "search": "validation"}
"""The streams of methods that learn weights on training images and the architecture on validation images."""
