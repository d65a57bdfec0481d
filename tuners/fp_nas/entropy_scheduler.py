"""The Ray Tune scheduler of FP-NAS's sweeps: a trial whose distribution has converged ends early."""

from __future__ import annotations

from typing import Any

from raynas.training.early_stop import JudgingScheduler


class EntropyScheduler(JudgingScheduler):
    """A training is enough once the entropy of its distribution, in nats, has fallen to `converged_nats`."""

    def __init__(self, actor: str, converged_nats: float) -> None:
        super().__init__(actor)
        self._converged_nats = converged_nats

    def enough(self, row: dict[str, Any]) -> bool:
        return bool(row["entropy"] <= self._converged_nats)
