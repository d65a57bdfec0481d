"""The means of an epoch's metrics so far. Checkpoints hold the sums."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class MetricMeans:
    """Sums and counts on the device of the metrics, so that adding does not wait for the device."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, metrics: Mapping[str, Tensor]) -> None:
        """Add the metrics of one training step."""
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, torch.zeros((), device=value.device)) + value
            self._counts[name] = self._counts.get(name, 0) + 1

    def values(self) -> dict[str, float]:
        return {name: float(total) / self._counts[name] for name, total in self._sums.items()}

    def state(self) -> dict[str, tuple[float, int]]:
        """Return the sums and counts as plain JSON, for `restore`."""
        return {name: (float(total), self._counts[name]) for name, total in self._sums.items()}

    @classmethod
    def restore(cls, state: Mapping[str, tuple[float, int]], device: torch.device) -> MetricMeans:
        means = cls()
        for name, (total, count) in state.items():
            means._sums[name] = torch.tensor(total, device=device)
            means._counts[name] = count
        return means
