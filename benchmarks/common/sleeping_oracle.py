"""An oracle that sleeps as long as asked for every architecture, so that a few cores hold many actors honestly."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from benchmarks.common.actor_oracles import FreeOracle


class SleepingOracle:
    """The free oracle's answers, after so many seconds an architecture."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def evaluate(
        self, asked: Sequence[tuple[int, ...]], weights: str | None, images: int | None = None
    ) -> list[dict[str, Any]]:
        time.sleep(self._seconds * len(asked))
        return FreeOracle().evaluate(asked, weights)
