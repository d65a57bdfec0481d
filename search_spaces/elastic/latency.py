"""The latency of groups of blocks: measured at three points of each range, interpolated in between.

FP-NAS-L2 has 90,000 different blocks. A table needs the first, the middle and the last option of the input channels,
the expansions and the output channels, with every kernel, activation and number of splits: 5,000 blocks. In between,
latency is taken as linear in each of the three. Rows for other options are used as measured, so that the sum is exact
for a table of all blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from search_spaces.elastic.groups import Group, Item, Variables
from search_spaces.latency_table import LatencyKey, LatencyTable, TimedBlock
from search_spaces.layers.shapes import Place

if TYPE_CHECKING:
    from torch import nn

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


class Blocks(NamedTuple):
    """Blocks of a group with equal strides and sizes.

    Attributes:
        in_channels: the options of their input; None stands for the block's own output channels.
        size: the input's height in pixels.
        repeats: the number of blocks.
    """

    in_channels: Sequence[int | None]
    stride: int
    size: int
    repeats: int

    def options(self, group: Group) -> Iterator[tuple[Variables, Place]]:
        """Yield all values of one block, in the order of a table with the dimensions of `group_cost`."""
        own = product(group.kernels, group.activations, group.splits, group.expansions, group.channels)
        for arriving, variables in product(self.in_channels, own):
            taken = Variables(*variables)
            in_channels = taken.channels if arriving is None else arriving
            yield taken, Place(in_channels, taken.channels, self.stride, self.size)


def split_group(group: Group, in_channels: Sequence[int], size: int) -> list[Blocks]:
    """Return the first block of a group and the other blocks.

    Args:
        in_channels: the options of the first block's input.
        size: the height of that input in pixels.
    """
    first = Blocks(in_channels, group.stride, size, 1)
    others = Blocks([None], 1, (size - 1) // group.stride + 1, group.repeats - 1)
    return [first, others] if group.repeats > 1 else [first]


def block_key(group: Group, taken: Variables, place: Place) -> LatencyKey:
    """Return a block's key. A skip that keeps the shape gets the key of a convolution that no network has."""
    shape = place.size, place.in_channels, place.out_channels
    if taken.kernel == 0:
        return LatencyKey("skip", *shape, kernel=1, expansion=0, stride=place.stride)
    hidden = group.hidden(place.in_channels, taken.expansion, place.out_channels)
    return LatencyKey(
        "mbconv-expand" if group.expands and hidden == place.in_channels else "mbconv",
        *shape,
        taken.kernel,
        round(hidden / place.in_channels, 4),
        place.stride,
        se=taken.splits > 0,
        splits=max(taken.splits, 1),
        activation="" if taken.activation == "relu" else taken.activation,
    )


def timed_blocks(group: Group, blocks: Blocks) -> dict[LatencyKey, TimedBlock]:
    """Return the blocks that a table needs."""
    kernels = tuple(filter(None, group.kernels)) if None in blocks.in_channels else group.kernels
    measured = replace(
        group, kernels=kernels, expansions=_measured(group.expansions), channels=_measured(group.channels)
    )
    timed: dict[LatencyKey, TimedBlock] = {}
    for taken, place in blocks._replace(in_channels=_measured(blocks.in_channels)).options(measured):
        shape = (place.in_channels, place.size, place.size)
        timed.setdefault(block_key(group, taken, place), TimedBlock(partial(_build, group, taken, place), shape))
    return timed


def _build(group: Group, taken: Variables, place: Place) -> nn.Module:
    """Build a block for measurement. A skip is measured as the convolution that it is where the shape changes."""
    from search_spaces.elastic.network import build_block
    from search_spaces.layers.convolutions import conv_bn

    if taken.kernel == 0:
        return conv_bn(place.in_channels, place.out_channels, 1, place.stride)
    return build_block(group, taken, place)


def group_latency(
    group: Group, in_channels: Sequence[int], size: int, table: LatencyTable, kept: Sequence[Sequence[int]]
) -> Floats:
    """Return a group's milliseconds, float64 in the dimensions of `group_cost`; nan if neither measured nor needed.

    Args:
        in_channels: the options of the first block's input.
        size: the height of that input in pixels.
        kept: for each dimension the indices of the options that are needed.

    Raises:
        UserError: if the table lacks a row that is needed. It names the row.
    """
    total: Floats = np.zeros(1)
    for blocks in split_group(group, in_channels, size):
        latency_ms = _latency_ms(group, blocks, table)
        arriving = [0] if None in blocks.in_channels else kept[0]
        if np.isnan(latency_ms[np.ix_(arriving, *kept[1:])]).any():
            for key in timed_blocks(keep_kinds(group, *kept[1:4]), blocks):
                table.latency_ms(key)
        total = total + blocks.repeats * latency_ms
    return total


def keep_kinds(group: Group, kernels: Sequence[int], activations: Sequence[int], splits: Sequence[int]) -> Group:
    """Return the group with only these kernels, activations and splits. Its ranges stay whole, like the tables'."""
    return group.keep([kernels, activations, splits, range(len(group.expansions)), range(len(group.channels))])


def _latency_ms(group: Group, blocks: Blocks, table: LatencyTable) -> Floats:
    """Return the latency of one block for all its options."""
    own = (group.kernels, group.activations, group.splits, group.expansions, group.channels)
    known = (table.entries_ms.get(block_key(group, *option), np.nan) for option in blocks.options(group))
    latency_ms = np.fromiter(known, np.float64).reshape(len(blocks.in_channels), *map(len, own))
    latency_ms = np.where(np.isnan(latency_ms), _interpolated(latency_ms), latency_ms)
    if 0 in group.kernels and blocks.stride == 1:
        skip = latency_ms[:, group.kernels.index(0)]
        for (i, arriving), (c, channels) in product(enumerate(blocks.in_channels), enumerate(group.channels)):
            if arriving in (None, channels):
                skip[i, ..., c] = 0.0
    return latency_ms


def _interpolated(latency_ms: Floats) -> Floats:
    """Interpolate all entries from the measured input channels, expansions and output channels."""
    for dimension in (0, 4, 5):
        length = latency_ms.shape[dimension]
        measured = _positions(length)
        weights = np.stack([np.interp(range(length), measured, unit) for unit in np.eye(len(measured))], axis=1)
        between = np.tensordot(latency_ms.take(measured, axis=dimension), weights, axes=(dimension, 1))
        latency_ms = np.moveaxis(between, -1, dimension)
    return latency_ms


def _measured(options: Sequence[Item]) -> tuple[Item, ...]:
    return tuple(options[position] for position in _positions(len(options)))


def _positions(options: int) -> list[int]:
    """Return the positions of the first, the middle and the last option."""
    return sorted({0, (options - 1) // 2, options - 1})
