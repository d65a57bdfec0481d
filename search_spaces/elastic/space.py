"""Elastic spaces (FP-NAS): each block chooses kernel, activation, attention, expansion and channels.

The choices belong to a row of the paper's table or, in a fine space, to a block. They are grouped: `row3.kernel`,
`row3.activation`, `row3.attention`, `row3.expansion`, `row3.channels` (or `block7.kernel` ...). The text form reads `k3
relu se0 e0.75 c16 | ...`. `k0` skips the blocks of a group; then of its other choices only the channels have an effect.

Functions that build networks import torch, which takes a second. Choices and costs do not need it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from search_spaces.architecture import Architecture, Choice
from search_spaces.costs import Amounts
from search_spaces.elastic.costs import ElasticCosts, group_cost
from search_spaces.elastic.groups import VARIABLES, Group, Variables, by_group, move_identities_last
from search_spaces.elastic.latency import group_latency, keep_kinds, split_group, timed_blocks
from search_spaces.errors import UserError
from search_spaces.family import Family
from search_spaces.latency_table import LatencyKey, LatencyTable, TimedBlock
from search_spaces.layers.cost import conv_bn_cost
from search_spaces.layers.head import Head
from search_spaces.layers.shapes import Place
from search_spaces.space import CountingMode, SearchSpace
from search_spaces.validation import Classes, Number, Width
from search_spaces.vital_blocks import INPUT, OUTPUT, Link

if TYPE_CHECKING:
    from torch import Tensor, nn

    from search_spaces.elastic.supernet import ElasticSupernet

STEM_KERNEL = 3
END_ACTIVATION = "silu"
"""The activation of stem and head: swish, as in MobileNetV3. FP-NAS prints none."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of blocks in the network's table. The first block has the stride.

    Attributes:
        channels, expansion: the range of options: (least, greatest, step). The only expansion 1 means a block without
            expand convolution.
    """

    channels: tuple[int, int, int]
    expansion: tuple[float, float, float] = (0.75, 4.5, 0.75)
    repeats: int
    stride: int


@dataclass(frozen=True, kw_only=True)
class ElasticFamily(Family):
    """An elastic space as its paper's table. A call builds the space, with the caller's changes to the settings.

    Attributes:
        attention: the words of the attention's options, which end in the number of splits: `se0`, `se1`, or `s0` to
            `s4`.
        fine: whether choices belong to a block, not to a row.
    """

    rows: tuple[Row, ...]
    kernels: tuple[int, ...] = (0, 3, 5)
    activations: tuple[str, ...] = ("relu", "swish")
    attention: tuple[str, ...]
    fine: bool = False
    stem_channels: int = 16
    stem_stride: int = 2
    head_channels: int = 1984
    num_classes: int = 1000

    def __call__(
        self,
        *,
        width: float = 1.0,
        resolution: int | None = None,
        num_classes: int | None = None,
        stem_channels: int | None = None,
        stem_stride: int | None = None,
        stage_strides: Sequence[int] | None = None,
        repeats: Sequence[int] | None = None,
        head_channels: int | None = None,
    ) -> ElasticSpace:
        """Build the space. Settings of None are as published.

        Args:
            width: multiplies all channels, those of stem and head too; the product is rounded. Options are named by
                their channels at width 1.
            resolution: the images' height and width in pixels.
            stage_strides: one number for each row: the stride of its first block.
            repeats: one number for each row: its blocks; 0 leaves the row out.

        Raises:
            UserError: if a number is not positive, a list has not one number for each row, no row is left, or the
                strides leave less than a pixel.
        """
        changes = {
            "width": width,
            "resolution": resolution,
            "num_classes": num_classes,
            "stem_channels": stem_channels,
            "stem_stride": stem_stride,
            "stage_strides": stage_strides,
            "repeats": repeats,
            "head_channels": head_channels,
        }
        rows = {"stage_strides": [row.stride for row in self.rows], "repeats": [row.repeats for row in self.rows]}
        settings = self.complete_settings(ElasticSettings, changes, rows)
        if not any(settings.repeats):
            raise UserError(f"{self.name}: repeats leaves no row; one number at least is 1 or more.")
        return ElasticSpace(self, settings)


class ElasticSettings(BaseModel):
    """The settings of an elastic space, complete and within their ranges."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    width: Width
    resolution: Number
    num_classes: Classes
    stem_channels: Number
    stem_stride: Number
    stage_strides: tuple[Number, ...]
    repeats: tuple[Annotated[int, Field(ge=0, le=10_000)], ...]
    head_channels: Number

    def channels(self, channels: int) -> int:
        """Return a layer's channels at this width."""
        return max(1, round(channels * self.width))


class ElasticSpace(SearchSpace):
    """Five choices for each group of blocks. A block's cost depends on the output channels of the block before it."""

    def __init__(self, family: ElasticFamily, settings: ElasticSettings) -> None:
        """Raises UserError if the images are too small for the strides."""
        self.name = family.name
        self.paper = family.paper
        self.settings = settings.model_dump(mode="json")
        self.resolution = settings.resolution
        self.num_classes = settings.num_classes
        self._settings = settings
        changes = zip(family.rows, settings.stage_strides, settings.repeats, strict=True)
        rows = [replace(row, stride=stride, repeats=repeats) for row, stride, repeats in changes]
        named = [(f"row{number}", row) for number, row in enumerate(rows, start=1) if row.repeats]
        if family.fine:
            blocks = [
                replace(row, repeats=1, stride=row.stride if block == 0 else 1)
                for row in rows
                for block in range(row.repeats)
            ]
            named = [(f"block{number}", row) for number, row in enumerate(blocks, start=1)]
        self._groups = [_group(name, row, family, settings) for name, row in named]
        self.choices = tuple(choice for name, row in named for choice in _choices(name, row, family))
        self.surviving = tuple(tuple(range(len(choice.options))) for choice in self.choices)
        self._stem_channels = settings.channels(settings.stem_channels)
        self._sizes(self.resolution)

    def supernet(self, num_classes: int | None = None) -> ElasticSupernet:
        from search_spaces.elastic.layers import ElasticConv
        from search_spaces.elastic.supernet import ElasticSupernet

        widest = max(self._groups[-1].channels[option] for option in self.surviving[-1])
        head = self._head(widest, self.resolution, num_classes)
        built = head.build()
        conv = built.get_submodule("conv")
        conv.register_module("0", ElasticConv(widest, head.pooled, 1, bias=False))
        return ElasticSupernet(self.choices, self.surviving, self._groups, self._stem(), self._stem_channels, built)

    def network(self, architecture: Architecture, num_classes: int | None = None) -> nn.Module:
        """Build a sequence of `stem`, `blocks` and `head`, which loads `network_state`."""
        from torch import nn

        from search_spaces.elastic.network import build_block
        from search_spaces.layers.initialise import initialise

        blocks: OrderedDict[str, nn.Module] = OrderedDict()
        channels = self._stem_channels
        for group, taken, size in zip(
            self._groups, self._taken(architecture), self._sizes(self.resolution)[:-1], strict=True
        ):
            stride = group.stride
            for name in group.blocks:
                place = Place(channels, taken.channels, stride, size)
                blocks[name] = build_block(group, taken, place)
                channels, size, stride = place.out_channels, place.out_size, 1
        head = self._head(channels, self.resolution, num_classes).build()
        network = nn.Sequential(OrderedDict(stem=self._stem(), blocks=nn.Sequential(blocks), head=head))
        initialise(network)
        return network

    def network_state(self, architecture: Architecture, supernet_state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        import torch

        from search_spaces.elastic.network import network_state

        with torch.device("meta"):
            network = self.network(architecture, num_classes=len(supernet_state["head.classifier.bias"]))
        return network_state(network, self._groups, self._taken(architecture), supernet_state)

    def canonical(self, architecture: Architecture) -> Architecture:
        """Return the architecture whose identities stand after the other groups of equal neighbours.

        Choices without effect in a skipped group take their first options. Groups are equal if they are a row's blocks
        in a fine space, or rows with the same options and number of blocks.
        """
        indices = tuple(move_identities_last(self._groups, self._stem_channels, architecture.indices))
        return Architecture(self.name, indices, self._text(indices))

    def costs(
        self,
        resolution: int | None = None,
        num_classes: int | None = None,
        latency: LatencyTable | None = None,
        counting: CountingMode = "macs",
    ) -> ElasticCosts:
        """Return exact costs; the papers count like `macs`. Latency is as exact as the table: see `elastic.latency`."""
        resolution = self.resolution if resolution is None else resolution
        sizes = self._sizes(resolution)
        arriving = [(self._stem_channels,), *(group.channels for group in self._groups)]
        group_costs = [group_cost(*inputs) for inputs in zip(self._groups, arriving[:-1], sizes[:-1], strict=True)]
        stem = conv_bn_cost(3, self._stem_channels, STEM_KERNEL, (resolution - 1) // self._settings.stem_stride + 1)
        heads = [self._head(channels, resolution, num_classes).cost() for channels in arriving[-1]]
        ends = [stem + head for head in heads]
        macs, params = ([cost[i] for cost in group_costs] for i in range(2))
        macs[-1] = macs[-1] + np.array([end.macs for end in ends])
        params[-1] = params[-1] + np.array([end.params for end in ends])
        tables: dict[str, list[Amounts]] = {"macs": macs, "params": params}
        if latency is not None:
            tables["latency_ms"] = self._latency_ms(resolution, num_classes, latency)
        return ElasticCosts(self.name, self.surviving, tables)

    def _latency_ms(self, resolution: int, num_classes: int | None, latency: LatencyTable) -> list[Amounts]:
        """Return a table for each group, as in `ElasticCosts`."""
        arriving: Sequence[int] = (self._stem_channels,)
        arrived: Sequence[int] = (0,)
        tables = []
        for group, kept, size in zip(self._groups, by_group(self.surviving), self._sizes(resolution), strict=False):
            tables.append(group_latency(group, arriving, size, latency, [arrived, *kept]))
            arriving, arrived = group.channels, kept[-1]
        stem = latency.latency_ms(self._stem_key(resolution))
        ends = [
            [
                stem,
                *(
                    latency.option_ms(key, i in arrived)
                    for key in self._head(channels, resolution, num_classes).timed_layers()
                ),
            ]
            for i, channels in enumerate(arriving)
        ]
        tables[-1] = tables[-1] + np.array([sum(end) for end in ends])
        return tables

    def latency_blocks(self) -> dict[LatencyKey, TimedBlock]:
        """Return each group's blocks at the ends and in the middle of its ranges: see `elastic.latency`."""
        arriving: Sequence[int] = (self._stem_channels,)
        timed = {self._stem_key(self.resolution): TimedBlock(self._stem, (3, self.resolution, self.resolution))}
        for group, kept, size in zip(
            self._groups, by_group(self.surviving), self._sizes(self.resolution), strict=False
        ):
            for blocks in split_group(group, arriving, size):
                timed = timed_blocks(keep_kinds(group, *kept[:3]), blocks) | timed
            arriving = group.channels
        for option in self.surviving[-1]:
            timed |= self._head(arriving[option], self.resolution, None).timed_layers()
        return timed

    def _stem_key(self, resolution: int) -> LatencyKey:
        return LatencyKey("stem", resolution, 3, self._stem_channels, STEM_KERNEL, 0, self._settings.stem_stride)

    def links(self) -> list[Link]:
        """Return each block as a chain of its group's five choices, with a bypass if the block can keep its shape."""
        links, before, arriving = [Link(INPUT, "stem")], "stem", {self._stem_channels}
        for number, (group, surviving) in enumerate(zip(self._groups, by_group(self.surviving), strict=True)):
            positions = range(number * len(VARIABLES), (number + 1) * len(VARIABLES))
            leaving = set(group.keep(surviving).channels)
            for name in group.blocks:
                nodes = [before, *(f"{name}.{variable}" for variable in VARIABLES)]
                links += map(Link, nodes[:-1], nodes[1:], positions)
                if name != group.blocks[0] or (group.stride == 1 and arriving & leaving):
                    links.append(Link(before, nodes[-1]))
                before = nodes[-1]
            arriving = leaving
        return [*links, Link(before, OUTPUT)]

    def _taken(self, architecture: Architecture) -> list[Variables]:
        return [group.take(five) for group, five in zip(self._groups, by_group(architecture.indices), strict=True)]

    def _sizes(self, resolution: int) -> list[int]:
        """Return the input's height of every group, and of the head, for images of this height and width."""
        strides = [self._settings.stem_stride, *(group.stride for group in self._groups)]
        if resolution < prod(strides):
            raise UserError(
                f"{self.name}: images of {resolution} pixels are too small for its strides; "
                f"use at least {prod(strides)} pixels, or smaller stem_stride and stage_strides."
            )
        sizes = [resolution]
        for stride in strides:
            sizes.append((sizes[-1] - 1) // stride + 1)
        return sizes[1:]

    def _stem(self) -> nn.Module:
        from search_spaces.layers.convolutions import ACTIVATION_LAYERS, conv_bn

        activation = ACTIVATION_LAYERS[END_ACTIVATION]
        return conv_bn(3, self._stem_channels, STEM_KERNEL, self._settings.stem_stride, activation=activation)

    def _head(self, in_channels: int, resolution: int, num_classes: int | None) -> Head:
        return Head(
            in_channels=in_channels,
            size=self._sizes(resolution)[-1],
            conv_channels=self._settings.channels(self._settings.head_channels),
            linear_features=None,
            num_classes=self.num_classes if num_classes is None else num_classes,
            activation=END_ACTIVATION,
        )


def _group(name: str, row: Row, family: ElasticFamily, settings: ElasticSettings) -> Group:
    expansions = _steps(*row.expansion)
    return Group(
        name=name,
        kernels=family.kernels,
        activations=family.activations,
        splits=tuple(int(word[-1]) for word in family.attention),
        expansions=expansions,
        channels=tuple(settings.channels(int(channels)) for channels in _steps(*row.channels)),
        repeats=row.repeats,
        stride=row.stride,
        expands=expansions != (1,),
        separates_splits=any(int(word[-1]) > 1 for word in family.attention),
    )


def _choices(name: str, row: Row, family: ElasticFamily) -> list[Choice]:
    options = [
        [f"k{kernel}" for kernel in family.kernels],
        family.activations,
        family.attention,
        [f"e{expansion:g}" for expansion in _steps(*row.expansion)],
        [f"c{channels:g}" for channels in _steps(*row.channels)],
    ]
    return [Choice(f"{name}.{variable}", tuple(words)) for variable, words in zip(VARIABLES, options, strict=True)]


def _steps(least: float, greatest: float, step: float) -> tuple[float, ...]:
    """Return all values of a range: (0.75, 4.5, 0.75) gives 0.75, 1.5, ... 4.5."""
    return tuple(least + step * number for number in range(round((greatest - least) / step) + 1))
