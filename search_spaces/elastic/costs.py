"""What the architectures of a space of several choices a block cost, where a block's cost depends on the one before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from search_spaces.costs import Costs
from search_spaces.elastic.groups import VARIABLES, Group, by_group
from search_spaces.elastic.split_attention import attention_cost


@dataclass(frozen=True)
class ElasticCosts(Costs):
    """The sum over the groups of blocks, each of which costs by its own choices and by the channels that it is given.

    Attributes:
        tables: for each resource one int64 table a group, with a dimension for the channels' options of the group
            before it (one option before the first) and one for each of its own five choices. Stem and head are
            in the last.
    """

    space: str
    surviving: tuple[tuple[int, ...], ...]
    tables: Mapping[str, Sequence[Tensor]]

    @property
    def resources(self) -> tuple[str, ...]:
        return tuple(self.tables)

    def total(self, indices: Tensor) -> dict[str, Tensor]:
        grouped = indices.view(len(indices), len(self.surviving) // len(VARIABLES), len(VARIABLES))
        arriving = torch.cat([torch.zeros_like(grouped[:, :1, -1]), grouped[:, :-1, -1]], dim=1)
        where = torch.cat([arriving[:, :, None], grouped], dim=2)
        return {
            resource: torch.stack([table[where[:, n].unbind(dim=1)] for n, table in enumerate(tables)]).sum(dim=0)
            for resource, tables in self.tables.items()
        }

    def extremes(self) -> Tensor:
        """For each resource the architecture of least and that of greatest cost."""
        return torch.tensor([self._least(tables, sign) for tables in self.tables.values() for sign in (+1, -1)])

    def bounds(self) -> dict[str, tuple[float, float]]:
        extreme = self.total(self.extremes())
        return {resource: (float(cost.min()), float(cost.max())) for resource, cost in extreme.items()}

    def _least(self, tables: Sequence[Tensor], sign: int) -> list[int]:
        """The architecture of least (sign +1) or greatest (-1) cost, by dynamic programming over the channels.

        Forwards, the least up to each group for each option of the channels that it gives; backwards, what it took.
        """
        reached = torch.zeros(1, dtype=torch.int64)
        arriving: Sequence[int] = (0,)
        steps = []
        for table, own in zip(tables, by_group(self.surviving), strict=True):
            for dimension, kept in enumerate((arriving, *own)):
                table = table.index_select(dimension, torch.tensor(kept))
            least, taken = (sign * table.flatten(1, 4)).min(dim=1)
            reached, before = (reached[:, None] + least).min(dim=0)
            steps.append((own, table.shape[1:5], before, taken))
            arriving = own[-1]
        channels = int(reached.argmin())
        indices: list[int] = []
        for own, shape, before, taken in reversed(steps):
            arrived = int(before[channels])
            others = np.unravel_index(int(taken[arrived, channels]), shape)
            positions = [*map(int, others), channels]
            indices[:0] = [kept[position] for kept, position in zip(own, positions, strict=True)]
            channels = arrived
        return indices


class GroupCost(NamedTuple):
    """Multiply-adds and parameters, int64."""

    macs: Tensor
    params: Tensor


def group_cost(group: Group, in_channels: Sequence[int], size: int) -> GroupCost:
    """What a group costs, of shape (options of `in_channels`, kernels, activations, splits, expansions, channels).

    Args:
        in_channels: the options of the first block's input.
        size: that input's height in pixels.
    """
    costs = [_block_cost(group, _along(0, in_channels), size, group.stride)]
    if group.repeats > 1:
        rest = _block_cost(group, _along(5, group.channels), (size - 1) // group.stride + 1, stride=1)
        costs += [rest] * (group.repeats - 1)
    options = (in_channels, group.kernels, group.activations, group.splits, group.expansions, group.channels)
    whole = _sum(*costs)
    shape = [len(each) for each in options]
    return GroupCost(whole.macs.expand(shape), whole.params.expand(shape))


def _block_cost(group: Group, in_channels: Tensor, size: int, stride: int) -> GroupCost:
    """What one block costs, of a shape that broadcasts to `group_cost`'s."""
    kernel, splits, channels = _along(1, group.kernels), _along(3, group.splits), _along(5, group.channels)
    pixels, out_pixels = size**2, ((size - 1) // stride + 1) ** 2
    expanded = (_along(4, group.expansions, torch.float64) * channels).round().long().clamp(min=1)
    hidden = expanded if group.expands else in_channels
    given = hidden * splits.clamp(min=1)
    weighed = _sum(
        _conv_norm(in_channels * hidden * group.expands, hidden * group.expands, pixels),
        _conv_norm(given * kernel**2, given, out_pixels),
        GroupCost(*(count * (splits > 0) for count in attention_cost(hidden, splits))),
        _conv_norm(hidden * channels, channels, out_pixels),
    )
    keeps_shape = (in_channels == channels) & (stride == 1)
    skip = _conv_norm(in_channels * channels * ~keeps_shape, channels * ~keeps_shape, out_pixels)
    return GroupCost(*(torch.where(kernel == 0, *pair) for pair in zip(skip, weighed, strict=True)))


def _conv_norm(weights: Tensor, channels: Tensor, pixels: int) -> GroupCost:
    """A convolution without bias and its batch norm, which multiplies nothing by `flop_counter`."""
    return GroupCost(weights * pixels, weights + 2 * channels)


def _sum(*costs: GroupCost) -> GroupCost:
    macs, params = zip(*costs, strict=True)
    return GroupCost(sum(macs[1:], macs[0]), sum(params[1:], params[0]))


def _along(dimension: int, options: Sequence[float], dtype: torch.dtype = torch.int64) -> Tensor:
    """Options along one of the six dimensions of `group_cost`."""
    shape = [1] * 6
    shape[dimension] = len(options)
    return torch.tensor(options, dtype=dtype).view(shape)
