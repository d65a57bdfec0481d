"""What searches and sweeps share of Ray Tune: a callback that passes on what trials report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray import tune
from ray.tune.experiment import Trial


class Reports(tune.Callback):
    """Passes on what a trial reports. Tune pickles its callbacks; what is passed on to stays in the driver."""

    def __init__(self, progress: Callable[[dict[str, Any]], None]) -> None:
        self._progress = progress

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **_: Any
    ) -> None:
        self._progress(result)
