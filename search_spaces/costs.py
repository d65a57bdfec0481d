"""What architectures cost: multiply-adds, parameters and latency as one table of options that is summed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from search_spaces.space import Architecture


@dataclass(frozen=True)
class Costs:
    """The cost of every option of a space whose architectures cost the sum of their options and a fixed part.

    Attributes:
        space: the name of the space.
        surviving: for each choice, the indices of the options that have not been pruned.
        table: for each resource (`macs`, `params`, `latency_ms`) float64 of shape (choices, most options of a choice).
            Integers are exact. Beyond a choice's options it is 0; a pruned option's latency that is unknown is nan.
        fixed: for each resource what every architecture pays: stem, head and classifier.
    """

    space: str
    surviving: tuple[tuple[int, ...], ...]
    table: Mapping[str, Tensor]
    fixed: Mapping[str, float]

    @property
    def resources(self) -> tuple[str, ...]:
        return tuple(self.table)

    def cost(self, architectures: Sequence[Architecture]) -> dict[str, Tensor]:
        """The exact cost of many architectures in the order given, each of shape (architectures,).

        `macs` (multiply-adds of one image, as `torch.utils.flop_counter` counts) and `params` (batch norm included) are
        int64, `latency_ms` is float64.
        """
        indices = np.array([architecture.indices for architecture in architectures], dtype=np.int64)
        return self.total(torch.from_numpy(indices.reshape(-1, len(self.surviving))))

    def total(self, indices: Tensor) -> dict[str, Tensor]:
        """`cost` of option indices, int64 of shape (architectures, choices)."""
        choices = torch.arange(len(self.surviving))
        totals = {}
        for resource, table in self.table.items():
            total = table[choices, indices].sum(dim=1) + self.fixed[resource]
            totals[resource] = total if resource == "latency_ms" else total.to(torch.int64)
        return totals

    def bounds(self) -> dict[str, tuple[float, float]]:
        """The least and the greatest cost over the architectures of the surviving options."""
        bounds = {}
        for resource, table in self.table.items():
            rows = [row[list(kept)] for row, kept in zip(table, self.surviving, strict=True)]
            least = sum(float(row.min()) for row in rows) + self.fixed[resource]
            bounds[resource] = (least, sum(float(row.max()) for row in rows) + self.fixed[resource])
        return bounds

    def expected(self, probabilities: Tensor) -> dict[str, Tensor]:
        """The expected cost, fixed part included, when each choice is drawn on its own; differentiable.

        Args:
            probabilities: shape (choices, most options of a choice); what it holds for pruned options does not count.

        Returns:
            For each resource a scalar of the probabilities' type and device.
        """
        kept = torch.zeros(next(iter(self.table.values())).shape, dtype=torch.bool)
        for row, options in zip(kept, self.surviving, strict=True):
            row[list(options)] = True
        return {
            resource: (probabilities * table.where(kept, 0).to(probabilities)).sum() + self.fixed[resource]
            for resource, table in self.table.items()
        }
