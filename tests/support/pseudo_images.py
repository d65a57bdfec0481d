"""An oracle with numbers for images: the hardness of each image, and the luck of each architecture with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from raynas.evaluation.request import Indices, LoadedOracle, Oracle


class PseudoImages(Oracle):
    """An oracle for which larger option indices classify better. About every fifth architecture is far worse."""

    number: int

    def load(self) -> LoadedOracle:
        return _LoadedPseudoImages(self.number)


class _LoadedPseudoImages:
    def __init__(self, number: int) -> None:
        self._hardness = np.random.default_rng(0).random(number)

    def evaluate(
        self, architectures: Sequence[Indices], weights: str | None, images: int | None = None
    ) -> list[dict[str, Any]]:
        return [self._figures(indices, len(self._hardness) if images is None else images) for indices in architectures]

    def _figures(self, indices: tuple[int, ...], images: int) -> dict[str, Any]:
        luck = np.random.default_rng([1, *indices])
        ability = 0.4 + 0.4 * sum(indices) / (2 * len(indices)) - 0.3 * (luck.random() < 0.2)
        noise = luck.normal(0, 0.2, len(self._hardness))
        right = float(np.mean((self._hardness + noise < ability)[:images]))
        return {"top1": 100 * right, "top5": 100.0, "loss": 1 - right, "images": images, "seconds": 0.0}
