"""An oracle that costs nothing, for the supernet actors to hold. It imports nothing that the actors do not."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any


class FreeOracle:
    """A made accuracy, always the same for the same architecture."""

    def evaluate(
        self, asked: Sequence[tuple[int, ...]], weights: str | None, images: int | None = None
    ) -> list[dict[str, Any]]:
        """A top-1 between 50 and 100 %: more for larger kernels and expansions, which come later among the options."""
        top1 = [100.0 - 50.0 / (1.0 + sum(indices) / 10.0) for indices in asked]
        return [{"top1": one, "top5": 100.0, "loss": 1.0, "images": 1, "seconds": 0.0} for one in top1]


class SleepingOracle:
    """The free oracle's answers, after so many seconds an architecture."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def evaluate(
        self, asked: Sequence[tuple[int, ...]], weights: str | None, images: int | None = None
    ) -> list[dict[str, Any]]:
        time.sleep(self._seconds * len(asked))
        return FreeOracle().evaluate(asked, weights)
