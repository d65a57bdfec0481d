"""Oracles for evaluators that cost nothing, or a fixed time, so that Ray's own share of a search can be measured."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from raynas.evaluation.request import Indices, Oracle


class FreeOracle(Oracle):
    """An accuracy that follows from the architecture alone, at no cost."""

    def load(self) -> FreeOracle:
        return self

    def evaluate(
        self, architectures: Sequence[Indices], weights: str | None, images: int | None = None
    ) -> list[dict[str, Any]]:
        """Return a top-1 of 50 to 100 %: the larger the option indices, the higher, as larger kernels come later."""
        accuracies = [100.0 - 50.0 / (1.0 + sum(indices) / 10.0) for indices in architectures]
        return [{"top1": top1, "top5": 100.0, "loss": 1.0, "images": 1, "seconds": 0.0} for top1 in accuracies]


class SleepingOracle(FreeOracle):
    """The figures of the free oracle, after a sleep of `seconds` for each architecture."""

    seconds: float

    def evaluate(
        self, architectures: Sequence[Indices], weights: str | None, images: int | None = None
    ) -> list[dict[str, Any]]:
        time.sleep(self.seconds * len(architectures))
        return super().evaluate(architectures, weights, images)
