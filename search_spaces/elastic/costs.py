"""Costs of elastic spaces, where a block's cost depends on the channels of the block before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from search_spaces.costs import Amounts, Costs, Indices
from search_spaces.elastic.groups import VARIABLES, Group, Item, by_group

if TYPE_CHECKING:
    from torch import Tensor

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class ElasticCosts(Costs):
    """The sum over the groups of blocks. A group's cost depends on its own choices and on its input channels.

    Attributes:
        tables: for each resource one table for each group, int64 or, for latency, float64. Its dimensions are the
            channels' options of the group before it (one option before the first group) and the group's own five
            choices. The last table includes stem and head.
    """

    space: str
    surviving: tuple[tuple[int, ...], ...]
    tables: Mapping[str, Sequence[Amounts]]

    @property
    def resources(self) -> tuple[str, ...]:
        return tuple(self.tables)

    def total(self, indices: Indices) -> dict[str, Amounts]:
        grouped = indices.reshape(len(indices), len(self.surviving) // len(VARIABLES), len(VARIABLES))
        arriving = np.concatenate([np.zeros_like(grouped[:, :1, -1]), grouped[:, :-1, -1]], axis=1)
        cells = np.concatenate([arriving[:, :, None], grouped], axis=2)
        return {
            resource: np.stack([table[tuple(cells[:, n].T)] for n, table in enumerate(tables)]).sum(axis=0)
            for resource, tables in self.tables.items()
        }

    def expected(self, probabilities: Tensor) -> dict[str, Tensor]:
        """Return the expected cost: the tables, weighted by the probabilities of the input channels and five choices.

        A convolution from the channels of one group to the channels of the next costs the product of their means
        (FBNetV2's effective shape).
        """
        import torch  # takes a second to import; only searches by gradients call this function

        rows = [probabilities[..., choice, list(kept)] for choice, kept in enumerate(self.surviving)]
        first = probabilities.new_ones((*probabilities.shape[:-2], 1))
        grouped = list(zip(_with_arriving((0,), self.surviving), _with_arriving(first, rows), strict=True))
        expected = {}
        for resource, tables in self.tables.items():
            means = []
            for table, (kept, six) in zip(tables, grouped, strict=True):
                weights = torch.from_numpy(table[np.ix_(*kept)]).to(probabilities)
                means.append(torch.einsum("ikasec,...c,...e,...s,...a,...k,...i->...", weights, *reversed(six)))
            expected[resource] = torch.stack(means).sum(dim=0)
        return expected

    def extremes(self) -> Indices:
        """Return for each resource the architectures of least and of greatest cost."""
        return np.array([self._least(tables, sign) for tables in self.tables.values() for sign in (+1, -1)])

    def bounds(self) -> dict[str, tuple[float, float]]:
        extreme = self.total(self.extremes())
        return {resource: (float(cost.min()), float(cost.max())) for resource, cost in extreme.items()}

    def _least(self, tables: Sequence[Amounts], sign: int) -> list[int]:
        """Return the architecture of least (sign +1) or greatest (-1) cost, by dynamic programming over the channels.

        The forward pass computes the least cost up to each group for each option of its output channels. The backward
        pass reads the options that reach it.
        """
        reached: Amounts = np.zeros(1, dtype=np.int64)
        arriving: Sequence[int] = (0,)
        steps = []
        for table, own in zip(tables, by_group(self.surviving), strict=True):
            for dimension, kept in enumerate((arriving, *own)):
                table = table.take(kept, axis=dimension)
            flat = sign * table.reshape(len(table), -1, table.shape[-1])
            taken = flat.argmin(axis=1)
            through = reached[:, None] + flat.min(axis=1)
            reached, before = through.min(axis=0), through.argmin(axis=0)
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


def _with_arriving(first: Item, items: Sequence[Item]) -> list[list[Item]]:
    """Return for each group the item of its input channels and those of its five choices.

    Args:
        first: the item of the first group's input channels.
        items: one for each choice.
    """
    groups = by_group(items)
    arriving = [first, *(group[-1] for group in groups)]
    return [[before, *group] for before, group in zip(arriving, groups, strict=False)]


class GroupCost(NamedTuple):
    """Multiply-adds and parameters, int64."""

    macs: Integers
    params: Integers


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
    return GroupCost(np.broadcast_to(whole.macs, shape), np.broadcast_to(whole.params, shape))


def _block_cost(group: Group, in_channels: Integers, size: int, stride: int) -> GroupCost:
    """Return the cost of one block, of a shape that broadcasts to that of `group_cost`."""
    kernel, splits, channels = _along(1, group.kernels), _along(3, group.splits), _along(5, group.channels)
    pixels, out_pixels = size**2, ((size - 1) // stride + 1) ** 2
    expanded = np.maximum(1, np.rint(_along(4, group.expansions, np.float64) * channels).astype(np.int64))
    hidden = expanded if group.expands else in_channels
    split_channels = hidden * np.maximum(1, splits)
    mbconv = _sum(
        _conv_norm(in_channels * hidden * group.expands, hidden * group.expands, pixels),
        _conv_norm(split_channels * kernel**2, split_channels, out_pixels),
        GroupCost(*(count * (splits > 0) for count in attention_cost(hidden, splits))),
        _conv_norm(hidden * channels, channels, out_pixels),
    )
    keeps_shape = (in_channels == channels) & (stride == 1)
    skip = _conv_norm(in_channels * channels * ~keeps_shape, channels * ~keeps_shape, out_pixels)
    return GroupCost(*(np.where(kernel == 0, *pair) for pair in zip(skip, mbconv, strict=True)))


def _conv_norm(weights: Integers, channels: Integers, pixels: int) -> GroupCost:
    """Return the cost of a convolution without bias and its batch norm; `flop_counter` counts none for the latter."""
    return GroupCost(weights * pixels, weights + 2 * channels)


def _sum(*costs: GroupCost) -> GroupCost:
    macs, params = zip(*costs, strict=True)
    return GroupCost(sum(macs[1:], macs[0]), sum(params[1:], params[0]))


def _along(dimension: int, options: Sequence[float], dtype: type[np.number] = np.int64) -> NDArray[Any]:
    """Return options along one of the six dimensions of `group_cost`."""
    shape = [1] * 6
    shape[dimension] = len(options)
    return np.array(options, dtype=dtype).reshape(shape)


def attention_cost(channels: Integers, splits: Integers) -> tuple[Integers, Integers]:
    """Return multiply-adds and parameters of split attention's two layers, of the arguments' common shape.

    Biases are included. `flop_counter` counts no multiply-adds for the product of channels and weights.
    """
    narrow = np.maximum(1, channels // 4)
    weights = channels * narrow * (1 + splits)
    return weights, weights + narrow + channels * splits
