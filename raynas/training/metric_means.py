"""The means of an epoch's metrics, as they grow step by step; what has been added up goes into a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class MetricMeans:
    """Sums and counts, on the device where the metrics are, so that adding waits for nothing."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, metrics: Mapping[str, Tensor]) -> None:
        """Add one step's metrics."""
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, torch.zeros((), device=value.device)) + value
            self._counts[name] = self._counts.get(name, 0) + 1

    def values(self) -> dict[str, float]:
        return {name: float(total) / self._counts[name] for name, total in self._sums.items()}

    def state(self) -> dict[str, tuple[float, int]]:
        """Plain JSON, from which `restore` goes on."""
        return {name: (float(total), self._counts[name]) for name, total in self._sums.items()}

    @classmethod
    def restore(cls, state: Mapping[str, tuple[float, int]], device: torch.device) -> MetricMeans:
        means = cls()
        for name, (total, count) in state.items():
            means._sums[name] = torch.tensor(total, device=device)
            means._counts[name] = count
        return means
