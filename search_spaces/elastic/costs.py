"""Costs of elastic spaces, where a block's cost depends on the channels of the block before it."""

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
    """The sum over the groups of blocks. A group's cost depends on its own choices and on its input channels.

    Attributes:
        tables: for each resource one int64 table for each group. Its dimensions are the channels' options of the group
            before it (one option before the first group) and the group's own five choices. The last table includes stem
            and head.
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
        cells = torch.cat([arriving[:, :, None], grouped], dim=2)
        return {
            resource: torch.stack([table[cells[:, n].unbind(dim=1)] for n, table in enumerate(tables)]).sum(dim=0)
            for resource, tables in self.tables.items()
        }

    def extremes(self) -> Tensor:
        """Return for each resource the architectures of least and of greatest cost."""
        return torch.tensor([self._least(tables, sign) for tables in self.tables.values() for sign in (+1, -1)])

    def bounds(self) -> dict[str, tuple[float, float]]:
        extreme = self.total(self.extremes())
        return {resource: (float(cost.min()), float(cost.max())) for resource, cost in extreme.items()}

    def _least(self, tables: Sequence[Tensor], sign: int) -> list[int]:
        """Return the architecture of least (sign +1) or greatest (-1) cost, by dynamic programming over the channels.

        The forward pass computes the least cost up to each group for each option of its output channels. The backward
        pass reads the options that reach it.
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
    """Return a group's cost, of shape (options of `in_channels`, kernels, activations, splits, expansions, channels).

    Args:
        in_channels: the options of the first block's input.
        size: the height of that input in pixels.
    """
    costs = [_block_cost(group, _along(0, in_channels), size, group.stride)]
    if group.repeats > 1:
        rest = _block_cost(group, _along(5, group.channels), (size - 1) // group.stride + 1, stride=1)
        costs += [rest] * (group.repeats - 1)
    options = (in_channels, group.kernels, group.activations, group.splits, group.expansions, group.channels)
    whole = _sum(*costs)
    shape = [len(values) for values in options]
    return GroupCost(whole.macs.expand(shape), whole.params.expand(shape))


def _block_cost(group: Group, in_channels: Tensor, size: int, stride: int) -> GroupCost:
    """Return the cost of one block, of a shape that broadcasts to that of `group_cost`."""
    kernel, splits, channels = _along(1, group.kernels), _along(3, group.splits), _along(5, group.channels)
    pixels, out_pixels = size**2, ((size - 1) // stride + 1) ** 2
    expanded = (_along(4, group.expansions, torch.float64) * channels).round().long().clamp(min=1)
    hidden = expanded if group.expands else in_channels
    split_channels = hidden * splits.clamp(min=1)
    mbconv = _sum(
        _conv_norm(in_channels * hidden * group.expands, hidden * group.expands, pixels),
        _conv_norm(split_channels * kernel**2, split_channels, out_pixels),
        GroupCost(*(count * (splits > 0) for count in attention_cost(hidden, splits))),
        _conv_norm(hidden * channels, channels, out_pixels),
    )
    keeps_shape = (in_channels == channels) & (stride == 1)
    skip = _conv_norm(in_channels * channels * ~keeps_shape, channels * ~keeps_shape, out_pixels)
    return GroupCost(*(torch.where(kernel == 0, *pair) for pair in zip(skip, mbconv, strict=True)))


def _conv_norm(weights: Tensor, channels: Tensor, pixels: int) -> GroupCost:
    """Return the cost of a convolution without bias and its batch norm; `flop_counter` counts none for the latter."""
    return GroupCost(weights * pixels, weights + 2 * channels)


def _sum(*costs: GroupCost) -> GroupCost:
    macs, params = zip(*costs, strict=True)
    return GroupCost(sum(macs[1:], macs[0]), sum(params[1:], params[0]))


def _along(dimension: int, options: Sequence[float], dtype: torch.dtype = torch.int64) -> Tensor:
    """Return options along one of the six dimensions of `group_cost`."""
    shape = [1] * 6
    shape[dimension] = len(options)
    return torch.tensor(options, dtype=dtype).view(shape)
