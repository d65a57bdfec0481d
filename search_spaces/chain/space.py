"""Chain spaces: a stem, stages of layers that each choose a block, a head convolution and a classifier.

Functions that build networks import torch, which takes a second. Choices and costs do not need it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from math import prod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from search_spaces.architecture import Architecture, Choice
from search_spaces.chain.blocks import Skip, Style, parse
from search_spaces.costs import PAPER_PREFIX, TableCosts
from search_spaces.errors import UserError
from search_spaces.family import Family
from search_spaces.latency_table import LatencyKey, LatencyTable, TimedBlock
from search_spaces.layers.cost import PLAIN, CountingRules, conv_bn_cost
from search_spaces.layers.head import Head
from search_spaces.layers.shapes import Place, multiple_of_8
from search_spaces.space import CountingMode, SearchSpace
from search_spaces.validation import Classes, Number, Width
from search_spaces.vital_blocks import INPUT, OUTPUT, Link

if TYPE_CHECKING:
    from torch import Tensor, nn

    from search_spaces.chain.supernet import ChainSupernet

STEM_KERNEL = 3


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A row of the network's table: `repeats` layers of `channels`. The first layer has the stage's stride.

    Attributes:
        first: the options of the first layer.
        rest: the options of the other layers; by default those of the first.
        name: the group of its choices `{name}.1`, `{name}.2`; by default `stage1`, `stage2` and so on.
        activation: the activation of its blocks; by default the family's.
    """

    channels: int
    repeats: int
    stride: int
    first: tuple[str, ...]
    rest: tuple[str, ...] = ()
    name: str | None = None
    activation: str | None = None

    def options(self, layer: int) -> tuple[str, ...]:
        """Return the options of a layer, counted from 1."""
        return self.rest if layer > 1 and self.rest else self.first


@dataclass(frozen=True, kw_only=True)
class ChainFamily(Family):
    """A chain space as its paper's table. A call builds the space, with the caller's changes to the settings.

    Attributes:
        head_channels: of the 1x1 convolution before the pooling; None without it.
        linear_features: of a linear layer with activation between pooling and classifier; None without it.
        activation, keep_expand, squeeze: as in `Style`; stem and head have this activation, too.
        counting: how the paper counts.
    """

    stages: tuple[Stage, ...]
    stem_channels: int
    head_channels: int | None = None
    linear_features: int | None = None
    activation: str = "relu6"
    keep_expand: bool = False
    squeeze: str = "input"
    counting: CountingRules = PLAIN

    def style(self, stage: Stage | None = None) -> Style:
        """Return the style of a stage's blocks or, without a stage, of stem and head."""
        own = None if stage is None else stage.activation
        return Style(own or self.activation, self.keep_expand, self.squeeze)

    def __call__(
        self,
        *,
        width: float = 1.0,
        resolution: int | None = None,
        num_classes: int | None = None,
        stem_channels: int | None = None,
        stem_stride: int | None = None,
        stage_channels: Sequence[int] | None = None,
        stage_strides: Sequence[int] | None = None,
        head_channels: int | None = None,
    ) -> ChainSpace:
        """Build the space. Settings of None are as published.

        Args:
            width: multiplies all channels, those of the head and of these arguments too. The product is rounded to a
                multiple of 8, unless `width` is 1.
            resolution: the images' height and width in pixels.
            stage_channels: one number for each stage, before `width`.
            stage_strides: one number for each stage: the stride of its first layer.

        Raises:
            UserError: if a number is not positive, a list has not one number for each stage, or the strides leave less
                than a pixel.
        """
        changes = {
            "width": width,
            "resolution": resolution,
            "num_classes": num_classes,
            "stem_channels": stem_channels,
            "stem_stride": stem_stride,
            "stage_channels": stage_channels,
            "stage_strides": stage_strides,
            "head_channels": head_channels,
        }
        stages = {
            "stage_channels": [stage.channels for stage in self.stages],
            "stage_strides": [stage.stride for stage in self.stages],
        }
        return ChainSpace(self, self.complete_settings(ChainSettings, changes, stages, "stages"))


class ChainSettings(BaseModel):
    """A chain space's settings, complete and within their ranges."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    width: Width
    resolution: Number
    num_classes: Classes
    stem_channels: Number
    stem_stride: Number
    stage_channels: tuple[Number, ...]
    stage_strides: tuple[Number, ...]
    head_channels: Number | None

    def channels(self, channels: int) -> int:
        """Return a layer's channels at this width."""
        return channels if self.width == 1.0 else multiple_of_8(channels * self.width)


class ChainSpace(SearchSpace):
    """One choice of a block for each layer. Costs are a table, because no option's cost depends on another choice."""

    def __init__(self, family: ChainFamily, settings: ChainSettings) -> None:
        """Raises UserError if the family's stages make no space, or the images are too small for the strides."""
        self.name = family.name
        self.paper = family.paper
        self.settings = settings.model_dump(mode="json")
        self.resolution = settings.resolution
        self.num_classes = settings.num_classes
        layers = [
            (f"{stage.name or f'stage{number}'}.{layer}", stage, stage.options(layer))
            for number, stage in enumerate(family.stages, start=1)
            for layer in range(1, stage.repeats + 1)
        ]
        self.choices = tuple(Choice(name, options) for name, _, options in layers)
        self.surviving = tuple(tuple(range(len(choice.options))) for choice in self.choices)
        self._family = family
        self._settings = settings
        self._styles = [family.style(stage) for _, stage, _ in layers]
        self._blocks = [[parse(option) for option in choice.options] for choice in self.choices]
        self._check()

    def _check(self) -> None:
        names = [choice.name for choice in self.choices]
        for choice, blocks, place in zip(self.choices, self._blocks, self._places(self.resolution)[1:], strict=True):
            if names.count(choice.name) > 1:
                raise UserError(f"{self.name} has two stages called {choice.group!r}; give each a name of its own.")
            if not blocks or len(set(blocks)) < len(blocks):
                options = ", ".join(choice.options) or "nothing"
                raise UserError(f"{choice.name} of {self.name} chooses among {options}; give at least one, each once.")
            for block in blocks:
                if (misfit := block.misfit(place)) is not None:
                    raise UserError(f"{choice.name} of {self.name} cannot be {block}: it {misfit}.")

    def supernet(self, num_classes: int | None = None) -> ChainSupernet:
        from search_spaces.chain.supernet import ChainSupernet
        from search_spaces.layers.initialise import initialise

        stem, *places = self._places(self.resolution)
        blocks = [
            {choice.options[option]: self._build(position, option, place) for option in surviving}
            for position, (choice, surviving, place) in enumerate(
                zip(self.choices, self.surviving, places, strict=True)
            )
        ]
        head = self._head(places[-1], num_classes)
        supernet = ChainSupernet(self.choices, self._stem(stem), blocks, head.build())
        initialise(supernet)
        return supernet

    def network(self, architecture: Architecture, num_classes: int | None = None) -> nn.Module:
        """Build a sequence of `stem`, `blocks` and `head`, which loads `network_state`."""
        from torch import nn

        from search_spaces.layers.initialise import initialise

        stem, *places = self._places(self.resolution)
        blocks = OrderedDict(
            (choice.key, self._build(position, option, place))
            for position, (choice, option, place) in enumerate(
                zip(self.choices, architecture.indices, places, strict=True)
            )
        )
        parts = {
            "stem": self._stem(stem),
            "blocks": nn.Sequential(blocks),
            "head": self._head(places[-1], num_classes).build(),
        }
        network = nn.Sequential(OrderedDict(parts))
        initialise(network)
        return network

    def network_state(self, architecture: Architecture, supernet_state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        prefixes = {
            f"blocks.{choice.key}.{choice.options[option]}.": f"blocks.{choice.key}."
            for choice, option in zip(self.choices, architecture.indices, strict=True)
        }
        state = {}
        for name, tensor in supernet_state.items():
            prefix = ".".join(name.split(".", 3)[:3]) + "."
            if not name.startswith("blocks."):
                state[name] = tensor
            elif prefix in prefixes:
                state[prefixes[prefix] + name.removeprefix(prefix)] = tensor
        return state

    def canonical(self, architecture: Architecture) -> Architecture:
        """Return the architecture whose identities stand after the other blocks of equal neighbouring layers.

        Layers are equal if they keep the shape and choose among the same blocks of the same style, whatever their
        stages.
        """
        indices = list(architecture.indices)
        for layers in self._equal_layers():
            taken = [indices[layer] for layer in layers]
            blocks = self._blocks[layers.start]
            indices[layers.start : layers.stop] = sorted(taken, key=lambda option: blocks[option] == Skip())
        return Architecture(self.name, tuple(indices), self._text(indices))

    def _equal_layers(self) -> Iterator[range]:
        """Yield the longest rows of neighbouring layers between which an identity can move."""
        places = self._places(self.resolution)[1:]
        kinds = list(zip((place.keeps_shape for place in places), self._blocks, self._styles, strict=True))
        start = 0
        for (keeps_shape, _, _), layers in groupby(kinds):
            stop = start + len(list(layers))
            if keeps_shape:
                yield range(start, stop)
            start = stop

    def costs(
        self,
        resolution: int | None = None,
        num_classes: int | None = None,
        latency: LatencyTable | None = None,
        counting: CountingMode = "macs",
    ) -> TableCosts:
        stem, *places = self._places(self.resolution if resolution is None else resolution)
        head = self._head(places[-1], num_classes)
        rules = {"": self._family.counting if counting == "paper" else PLAIN}
        if counting == "macs" and self._family.counting != PLAIN:
            rules[PAPER_PREFIX] = self._family.counting
        layers = list(zip(self._blocks, places, self._styles, strict=True))
        options = [[block.cost(place, style) for block in blocks] for blocks, place, style in layers]
        always = head.cost() + conv_bn_cost(
            stem.in_channels, stem.out_channels, STEM_KERNEL, stem.out_size, activation=True
        )
        table, fixed = {}, {}
        for prefix, counted in rules.items():
            for resource, count in (("macs", counted.macs), ("params", counted.params)):
                table[prefix + resource] = _table([[count(cost) for cost in row] for row in options])
                fixed[prefix + resource] = float(count(always))
        if latency is not None:
            table["latency_ms"] = _table(
                [
                    [latency.option_ms(block.latency_key(place, style), i in kept) for i, block in enumerate(blocks)]
                    for (blocks, place, style), kept in zip(layers, self.surviving, strict=True)
                ]
            )
            fixed["latency_ms"] = sum(latency.latency_ms(key) for key in (_stem_key(stem), *head.timed_layers()))
        return TableCosts(self.name, self.surviving, table, fixed)

    def latency_blocks(self) -> dict[LatencyKey, TimedBlock]:
        stem, *places = self._places(self.resolution)
        timed = {_stem_key(stem): TimedBlock(lambda: self._stem(stem), (stem.in_channels, stem.size, stem.size))}
        timed |= self._head(places[-1], None).timed_layers()
        for position, (surviving, place) in enumerate(zip(self.surviving, places, strict=True)):
            for option in surviving:
                key = self._blocks[position][option].latency_key(place, self._styles[position])
                if key is not None:
                    shape = (place.in_channels, place.size, place.size)
                    timed.setdefault(key, TimedBlock(partial(self._build, position, option, place), shape))
        return timed

    def links(self) -> list[Link]:
        places = self._places(self.resolution)[1:]
        nodes = ["stem", *(choice.name for choice in self.choices)]
        links = [Link(INPUT, "stem"), Link(nodes[-1], OUTPUT)]
        for position, (source, target, place) in enumerate(zip(nodes[:-1], nodes[1:], places, strict=True)):
            links.append(Link(source, target, position))
            if all(self._blocks[position][option].has_shortcut(place) for option in self.surviving[position]):
                links.append(Link(source, target))
        return links

    def _places(self, resolution: int) -> list[Place]:
        """Return the places of the stem and of every choice's block, for images of this height and width."""
        settings = self._settings
        strides = [settings.stem_stride, *settings.stage_strides]
        if resolution < prod(strides):
            raise UserError(
                f"{self.name}: images of {resolution} pixels are too small for the strides {strides}; "
                f"use at least {prod(strides)} pixels, or smaller stem_stride and stage_strides."
            )
        places = [Place(3, settings.channels(settings.stem_channels), settings.stem_stride, resolution)]
        for stage, channels, stride in zip(
            self._family.stages, settings.stage_channels, settings.stage_strides, strict=True
        ):
            for layer in range(stage.repeats):
                last = places[-1]
                out_channels = settings.channels(channels)
                places.append(Place(last.out_channels, out_channels, stride if layer == 0 else 1, last.out_size))
        return places

    def _build(self, position: int, option: int, place: Place) -> nn.Module:
        return self._blocks[position][option].build(place, self._styles[position])

    def _stem(self, place: Place) -> nn.Module:
        from search_spaces.layers.convolutions import ACTIVATION_LAYERS, conv_bn

        activation = ACTIVATION_LAYERS[self._family.activation]
        return conv_bn(place.in_channels, place.out_channels, STEM_KERNEL, place.stride, activation=activation)

    def _head(self, last: Place, num_classes: int | None) -> Head:
        settings, linear_features = self._settings, self._family.linear_features
        return Head(
            in_channels=last.out_channels,
            size=last.out_size,
            conv_channels=None if settings.head_channels is None else settings.channels(settings.head_channels),
            linear_features=None if linear_features is None else settings.channels(linear_features),
            num_classes=self.num_classes if num_classes is None else num_classes,
            activation=self._family.activation,
        )


def _stem_key(stem: Place) -> LatencyKey:
    return LatencyKey("stem", stem.size, stem.in_channels, stem.out_channels, STEM_KERNEL, 0, stem.stride)


def _table(rows: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """Return float64 of shape (choices, most options of a choice), with 0 beyond a choice's options."""
    longest = max(map(len, rows))
    return np.array([[*row, *[0.0] * (longest - len(row))] for row in rows], dtype=np.float64)
