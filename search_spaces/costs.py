"""Costs of architectures: exact multiply-adds, parameters and latency, computed for many architectures at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from search_spaces.architecture import Architecture
from search_spaces.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

Amounts = NDArray[Any]
"""Costs of many architectures: int64 for multiply-adds and parameters, float64 for milliseconds."""
PAPER_PREFIX = "paper_"
"""Prefix of the resources that are counted as the space's paper counts: `paper_macs`, `paper_params`."""
Indices = NDArray[np.int64]
"""Option indices, shape (architectures, choices)."""


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
        """The resources with a cost: `macs`, `params` and, with a latency table, `latency_ms`.

        Spaces whose paper counts in another way also have `paper_macs` and `paper_params`.
        """

    @abstractmethod
    def total(self, indices: Indices) -> dict[str, Amounts]:
        """Return what `cost` returns, for option indices of shape (architectures, choices)."""

    @abstractmethod
    def bounds(self) -> dict[str, tuple[float, float]]:
        """Return for each resource the least and the greatest cost over the surviving options."""

    @abstractmethod
    def expected(self, probabilities: Tensor) -> dict[str, Tensor]:
        """Return the expected cost, fixed part included, if each choice is drawn independently. It is differentiable.

        Args:
            probabilities: shape (..., choices, most options of a choice). Entries of pruned options do not count. For a
                choice that takes any number of its options, each entry is the probability that the option is taken,
                independent of the other options.

        Returns:
            For each resource a tensor of shape (...), with the type and device of the probabilities.
        """

    def extremes(self) -> Indices:
        """Return architectures at the bounds, if these are known.

        Option indices of shape (architectures, choices).
        """
        return np.empty((0, len(self.surviving)), dtype=np.int64)

    def cost(self, architectures: Sequence[Architecture]) -> dict[str, Amounts]:
        """Return the exact cost of many architectures, in their order; each array has shape (architectures,).

        `macs` (multiply-adds for one image, as `torch.utils.flop_counter` counts them) and `params` (batch norm
        included) are int64; `latency_ms` is float64.
        """
        indices = np.array([architecture.indices for architecture in architectures], dtype=np.int64)
        return self.total(indices.reshape(-1, len(self.surviving)))

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
    table: Mapping[str, NDArray[np.float64]]
    fixed: Mapping[str, float]
    subsets: frozenset[int] = frozenset()

    @property
    def resources(self) -> tuple[str, ...]:
        return tuple(self.table)

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Which options survive: bool of shape (choices, most options of a choice)."""
        return kept_options(self.surviving, next(iter(self.table.values())).shape[1])

    def as_table(self) -> TableCosts:
        return self

    def total(self, indices: Indices) -> dict[str, Amounts]:
        subsets = sorted(self.subsets)
        singles = [choice for choice in range(len(self.surviving)) if choice not in self.subsets]
        totals = {}
        for resource, table in self.table.items():
            taken = indices[:, subsets, None] >> np.arange(table.shape[1]) & 1 == 1
            # A row in one piece of memory is added in one order, so a latency does not depend on the other rows.
            total = np.ascontiguousarray(table[singles, indices[:, singles]]).sum(axis=1)
            total = total + np.ascontiguousarray(np.where(taken, table[subsets], 0)).sum(axis=(1, 2))
            total = total + self.fixed[resource]
            totals[resource] = total if resource == "latency_ms" else total.astype(np.int64)
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
        import torch  # takes a second to import; only searches by gradients call this function

        kept = self.kept
        tables = {resource: torch.from_numpy(np.where(kept, table, 0)) for resource, table in self.table.items()}
        return {
            resource: (probabilities * table.to(probabilities)).sum(dim=(-2, -1)) + self.fixed[resource]
            for resource, table in tables.items()
        }


def kept_options(surviving: Sequence[Sequence[int]], most: int) -> NDArray[np.bool_]:
    """Return which options survive: bool of shape (choices, `most` options of a choice)."""
    kept = np.zeros((len(surviving), most), dtype=np.bool_)
    for row, options in zip(kept, surviving, strict=True):
        row[list(options)] = True
    return kept
