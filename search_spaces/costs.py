"""Costs of architectures: exact multiply-adds, parameters and latency, computed for many architectures at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from search_spaces.architecture import Architecture
from search_spaces.errors import UserError


class Costs(ABC):
    """The exact cost of any architecture of a space.

    Attributes:
        space: the name of the space.
        surviving: for each choice, the indices of its options that are not pruned.
    """

    space: str
    surviving: tuple[tuple[int, ...], ...]

    @property
    @abstractmethod
    def resources(self) -> tuple[str, ...]:
        """The resources with a cost: `macs`, `params` and, with a latency table, `latency_ms`."""

    @abstractmethod
    def total(self, indices: Tensor) -> dict[str, Tensor]:
        """Return what `cost` returns, for option indices as int64 of shape (architectures, choices)."""

    @abstractmethod
    def bounds(self) -> dict[str, tuple[float, float]]:
        """Return for each resource the least and the greatest cost over the surviving options."""

    def extremes(self) -> Tensor:
        """Return architectures at the bounds, if these are known.

        Option indices of shape (architectures, choices).
        """
        return torch.empty(0, len(self.surviving), dtype=torch.int64)

    def cost(self, architectures: Sequence[Architecture]) -> dict[str, Tensor]:
        """Return the exact cost of many architectures, in their order; each tensor has shape (architectures,).

        `macs` (multiply-adds for one image, as `torch.utils.flop_counter` counts them) and `params` (batch norm
        included) are int64; `latency_ms` is float64.
        """
        indices = np.array([architecture.indices for architecture in architectures], dtype=np.int64)
        return self.total(torch.from_numpy(indices.reshape(-1, len(self.surviving))))

    def as_table(self) -> TableCosts:
        """Return these costs as a table of options.

        Raises:
            UserError: if an option's cost depends on another choice, so that no table exists.
        """
        raise UserError(
            f"The costs of {self.space} are no table of options: a block's cost depends on the output channels of the "
            "block before it."
        )


@dataclass(frozen=True)
class TableCosts(Costs):
    """A table of costs: an architecture costs the sum of its options and a fixed part.

    Attributes:
        table: for each resource (`macs`, `params`, `latency_ms`) float64 of shape (choices, most options of a choice).
            Integers are exact. Entries beyond a choice's options are 0. The unknown latency of a pruned option is nan.
        fixed: for each resource the cost that every architecture has: stem, head and classifier.
        subsets: the positions of the choices that take any number of their options, and cost the sum of these.
    """

    space: str
    surviving: tuple[tuple[int, ...], ...]
    table: Mapping[str, Tensor]
    fixed: Mapping[str, float]
    subsets: frozenset[int] = frozenset()

    @property
    def resources(self) -> tuple[str, ...]:
        return tuple(self.table)

    @property
    def kept(self) -> Tensor:
        """Which options survive: bool of shape (choices, most options of a choice)."""
        return kept_options(self.surviving, next(iter(self.table.values())).shape[1])

    def as_table(self) -> TableCosts:
        return self

    def total(self, indices: Tensor) -> dict[str, Tensor]:
        subsets = sorted(self.subsets)
        singles = [choice for choice in range(len(self.surviving)) if choice not in self.subsets]
        totals = {}
        for resource, table in self.table.items():
            taken = indices[:, subsets, None] >> torch.arange(table.shape[1]) & 1 == 1
            total = table[singles, indices[:, singles]].sum(dim=1)
            total = total + torch.where(taken, table[subsets], 0).sum(dim=(1, 2))
            total = total + self.fixed[resource]
            totals[resource] = total if resource == "latency_ms" else total.to(torch.int64)
        return totals

    def bounds(self) -> dict[str, tuple[float, float]]:
        bounds = {}
        for resource, table in self.table.items():
            least = greatest = self.fixed[resource]
            for choice, kept in enumerate(self.surviving):
                options = table[choice, list(kept)]
                least += 0.0 if choice in self.subsets else float(options.min())
                greatest += float(options.sum() if choice in self.subsets else options.max())
            bounds[resource] = (least, greatest)
        return bounds

    def expected(self, probabilities: Tensor) -> dict[str, Tensor]:
        """Return the expected cost, fixed part included, if each choice is drawn independently. It is differentiable.

        Args:
            probabilities: shape (..., choices, most options of a choice). Entries of pruned options do not count. For a
                choice in `subsets`, each entry is the probability that the option is taken, independent of the other
                options.

        Returns:
            For each resource a tensor of shape (...), with the type and device of the probabilities.
        """
        kept = self.kept
        return {
            resource: (probabilities * table.where(kept, 0).to(probabilities)).sum(dim=(-2, -1)) + self.fixed[resource]
            for resource, table in self.table.items()
        }


def kept_options(surviving: Sequence[Sequence[int]], most: int) -> Tensor:
    """Return which options survive: bool of shape (choices, `most` options of a choice)."""
    kept = torch.zeros(len(surviving), most, dtype=torch.bool)
    for row, options in zip(kept, surviving, strict=True):
        row[list(options)] = True
    return kept
