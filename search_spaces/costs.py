"""What architectures cost: multiply-adds, parameters and latency, exactly and for many at once."""

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
        surviving: for each choice, the indices of the options that have not been pruned.
    """

    space: str
    surviving: tuple[tuple[int, ...], ...]

    @property
    @abstractmethod
    def resources(self) -> tuple[str, ...]:
        """What is counted: `macs`, `params` and, with a latency table, `latency_ms`."""

    @abstractmethod
    def total(self, indices: Tensor) -> dict[str, Tensor]:
        """`cost` of option indices, int64 of shape (architectures, choices)."""

    @abstractmethod
    def bounds(self) -> dict[str, tuple[float, float]]:
        """The least and the greatest cost over the architectures of the surviving options."""

    def extremes(self) -> Tensor:
        """Architectures at the bounds, where they are known: option indices of shape (architectures, choices)."""
        return torch.empty(0, len(self.surviving), dtype=torch.int64)

    def cost(self, architectures: Sequence[Architecture]) -> dict[str, Tensor]:
        """The exact cost of many architectures in the order given, each of shape (architectures,).

        `macs` (multiply-adds of one image, as `torch.utils.flop_counter` counts) and `params` (batch norm included) are
        int64, `latency_ms` is float64.
        """
        indices = np.array([architecture.indices for architecture in architectures], dtype=np.int64)
        return self.total(torch.from_numpy(indices.reshape(-1, len(self.surviving))))

    def as_table(self) -> TableCosts:
        """These costs as a table of options.

        Raises:
            UserError: if they are none, because what an option costs depends on another choice.
        """
        raise UserError(
            f"The costs of {self.space} are no table of options: what a block costs depends on the channels that the "
            "block before it gives."
        )


@dataclass(frozen=True)
class TableCosts(Costs):
    """The cost of every option of a space whose architectures cost the sum of their options and a fixed part.

    Attributes:
        table: for each resource (`macs`, `params`, `latency_ms`) float64 of shape (choices, most options of a choice).
            Integers are exact. Beyond a choice's options it is 0; a pruned option's latency that is unknown is nan.
        fixed: for each resource what every architecture pays: stem, head and classifier.
        subsets: the choices, by position, that take any number of their options and cost the sum of those.
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
        """Which options survive, bool of shape (choices, most options of a choice)."""
        return kept_options(self.surviving, next(iter(self.table.values())).shape[1])

    def as_table(self) -> TableCosts:
        return self

    def total(self, indices: Tensor) -> dict[str, Tensor]:
        many = sorted(self.subsets)
        one = [choice for choice in range(len(self.surviving)) if choice not in self.subsets]
        totals = {}
        for resource, table in self.table.items():
            taken = indices[:, many, None] >> torch.arange(table.shape[1]) & 1 == 1
            total = table[one, indices[:, one]].sum(dim=1) + torch.where(taken, table[many], 0).sum(dim=(1, 2))
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
        """The expected cost, fixed part included, when each choice is drawn on its own; differentiable.

        Args:
            probabilities: shape (..., choices, most options of a choice); what it holds for pruned options does not
                count. Of a choice in `subsets`, how likely each option is to be taken, whatever else is.

        Returns:
            For each resource a tensor of shape (...), of the probabilities' type and device.
        """
        kept = self.kept
        return {
            resource: (probabilities * table.where(kept, 0).to(probabilities)).sum(dim=(-2, -1)) + self.fixed[resource]
            for resource, table in self.table.items()
        }


def kept_options(surviving: Sequence[Sequence[int]], most: int) -> Tensor:
    """Which options survive, bool of shape (choices, `most` options of a choice)."""
    kept = torch.zeros(len(surviving), most, dtype=torch.bool)
    for row, options in zip(kept, surviving, strict=True):
        row[list(options)] = True
    return kept
