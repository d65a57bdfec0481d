"""Layer-by-layer spaces: a stem, stages of layers that each choose a block, a head convolution and a classifier."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import nan, prod

import torch
from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt, ValidationError
from torch import Tensor, nn

from search_spaces.blocks import Block, Place, conv_bn, parse
from search_spaces.chain_supernet import ChainSupernet, initialise, layer_key, network_state
from search_spaces.costs import TableCosts
from search_spaces.counting import conv_bn_cost, linear_cost
from search_spaces.errors import UserError
from search_spaces.graph import INPUT, OUTPUT, Link
from search_spaces.latency import LatencyKey, LatencyTable, TimedBlock
from search_spaces.space import Architecture, Choice, CountingMode, SearchSpace

STEM_KERNEL = 3


@dataclass(frozen=True)
class Stage:
    """A row of the network's table: `repeats` layers of `channels`, of which the first has the stage's stride.

    `first` are the options of the first layer, `rest` those of the others.
    """

    channels: int
    repeats: int
    stride: int
    first: tuple[str, ...]
    rest: tuple[str, ...] = ()


@dataclass(frozen=True)
class ChainFamily:
    """A published layer-by-layer space as its table; calling it gives the space with settings of one's own."""

    name: str
    paper: str
    stages: tuple[Stage, ...]
    stem_channels: int
    stem_stride: int
    head_channels: int
    resolution: int
    num_classes: int
    activation: type[nn.Module] = nn.ReLU6

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
        """The space. What is not given is as published.

        Args:
            width: multiplies all channels, the head's and those given here too; the product is a multiple of 8, unless
                `width` is 1.
            resolution: the images' height and width in pixels.
            stage_channels: one number a stage, before `width`.
            stage_strides: one number a stage: the stride of its first layer.

        Raises:
            UserError: if a number is not positive, there is not one a stage, or the strides leave less than a pixel.
        """
        asked = {
            "width": width,
            "resolution": self.resolution if resolution is None else resolution,
            "num_classes": self.num_classes if num_classes is None else num_classes,
            "stem_channels": self.stem_channels if stem_channels is None else stem_channels,
            "stem_stride": self.stem_stride if stem_stride is None else stem_stride,
            "stage_channels": [s.channels for s in self.stages] if stage_channels is None else stage_channels,
            "stage_strides": [s.stride for s in self.stages] if stage_strides is None else stage_strides,
            "head_channels": self.head_channels if head_channels is None else head_channels,
        }
        try:
            settings = ChainSettings.model_validate(asked)
        except ValidationError as error:
            first = error.errors()[0]
            raise UserError(
                f"{self.name}: {'.'.join(map(str, first['loc']))} cannot be {first['input']!r}: {first['msg']}."
            ) from error
        for setting, given in (("stage_channels", settings.stage_channels), ("stage_strides", settings.stage_strides)):
            if len(given) != len(self.stages):
                raise UserError(f"{self.name} has {len(self.stages)} stages; {setting} gives {len(given)} numbers.")
        return ChainSpace(self, settings)


class ChainSettings(BaseModel):
    """A chain space's settings in full, in the types and ranges that they may have."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    width: PositiveFloat
    resolution: PositiveInt
    num_classes: PositiveInt
    stem_channels: PositiveInt
    stem_stride: PositiveInt
    stage_channels: tuple[PositiveInt, ...]
    stage_strides: tuple[PositiveInt, ...]
    head_channels: PositiveInt

    def channels(self, channels: int) -> int:
        """A layer's channels at this width: the nearest multiple of 8, at most 10 % below (MobileNet's rule)."""
        if self.width == 1.0:
            return channels
        scaled = channels * self.width
        nearest = max(8, int(scaled + 4) // 8 * 8)
        return nearest + 8 if nearest < 0.9 * scaled else nearest


class ChainSpace(SearchSpace):
    """One choice of a block for each layer, every option's cost its own: costs are a table."""

    def __init__(self, family: ChainFamily, settings: ChainSettings) -> None:
        self.name = family.name
        self.paper = family.paper
        self.settings = settings.model_dump(mode="json")
        self.resolution = settings.resolution
        self.num_classes = settings.num_classes
        self.choices = tuple(
            Choice(f"stage{number}.{layer}", stage.first if layer == 1 else stage.rest)
            for number, stage in enumerate(family.stages, start=1)
            for layer in range(1, stage.repeats + 1)
        )
        self.surviving = tuple(tuple(range(len(choice.options))) for choice in self.choices)
        self._activation = family.activation
        self._repeats = tuple(stage.repeats for stage in family.stages)
        self._settings = settings
        self._places(self.resolution)

    def supernet(self, num_classes: int | None = None) -> ChainSupernet:
        layers = self._places(self.resolution)
        blocks = [
            {choice.options[option]: self._build(choice, option, place) for option in surviving}
            for choice, surviving, place in zip(self.choices, self.surviving, layers[1:-1], strict=True)
        ]
        supernet = ChainSupernet(self.choices, self._stem(layers[0]), blocks, self._head(layers[-1], num_classes))
        initialise(supernet)
        return supernet

    def network(self, architecture: Architecture, num_classes: int | None = None) -> nn.Module:
        """A sequence of `stem`, `blocks` and `head`, into which `network_state` loads."""
        layers = self._places(self.resolution)
        blocks = OrderedDict(
            (layer_key(choice), self._build(choice, option, place))
            for choice, option, place in zip(self.choices, architecture.indices, layers[1:-1], strict=True)
        )
        parts = {
            "stem": self._stem(layers[0]),
            "blocks": nn.Sequential(blocks),
            "head": self._head(layers[-1], num_classes),
        }
        network = nn.Sequential(OrderedDict(parts))
        initialise(network)
        return network

    def network_state(self, architecture: Architecture, supernet_state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return network_state(architecture, self.choices, supernet_state)

    def costs(
        self,
        resolution: int | None = None,
        num_classes: int | None = None,
        latency: LatencyTable | None = None,
        counting: CountingMode = "macs",
    ) -> TableCosts:
        stem, *layers, head = self._places(self.resolution if resolution is None else resolution)
        classes = self.num_classes if num_classes is None else num_classes
        always_paid = (
            conv_bn_cost(stem.in_channels, stem.out_channels, STEM_KERNEL, stem.out_size)
            + conv_bn_cost(head.in_channels, head.out_channels, 1, head.size)
            + linear_cost(head.out_channels, classes)
        )
        places = list(zip(self.choices, layers, strict=True))
        options = [[parse(option).cost(place) for option in choice.options] for choice, place in places]
        table = {
            "macs": _table([[cost.macs for cost in row] for row in options]),
            "params": _table([[cost.params for cost in row] for row in options]),
        }
        fixed = {"macs": float(always_paid.macs), "params": float(always_paid.params)}
        if latency is not None:
            table["latency_ms"] = _table(
                [
                    [_latency_ms(parse(option), place, latency, i in kept) for i, option in enumerate(choice.options)]
                    for (choice, place), kept in zip(places, self.surviving, strict=True)
                ]
            )
            fixed["latency_ms"] = sum(latency.latency_ms(key) for key in _always_run(stem, head, classes))
        return TableCosts(self.name, self.surviving, table, fixed)

    def latency_blocks(self) -> dict[LatencyKey, TimedBlock]:
        stem, *layers, head = self._places(self.resolution)
        always_run = _always_run(stem, head, self.num_classes)
        always = [
            TimedBlock(lambda: self._stem(stem), (stem.in_channels, stem.size, stem.size)),
            TimedBlock(lambda: self._head(head, None)[:-1], (head.in_channels, head.size, head.size)),
            TimedBlock(lambda: self._head(head, None)[-1:], (head.out_channels,)),
        ]
        blocks = dict(zip(always_run, always, strict=True))
        for choice, surviving, place in zip(self.choices, self.surviving, layers, strict=True):
            for option in surviving:
                key = parse(choice.options[option]).latency_key(place)
                if key is not None:
                    shape = (place.in_channels, place.size, place.size)
                    blocks.setdefault(key, TimedBlock(partial(self._build, choice, option, place), shape))
        return blocks

    def links(self) -> list[Link]:
        layers = self._places(self.resolution)[1:-1]
        nodes = ["stem", *(choice.name for choice in self.choices)]
        links = [Link(INPUT, "stem"), Link(nodes[-1], OUTPUT)]
        for position, (source, target, place) in enumerate(zip(nodes[:-1], nodes[1:], layers, strict=True)):
            links.append(Link(source, target, position))
            if place.keeps_shape:
                links.append(Link(source, target))
        return links

    def _places(self, resolution: int) -> list[Place]:
        """Where the stem, every choice's block and the head stand, for images of this height and width."""
        settings = self._settings
        strides = [settings.stem_stride, *settings.stage_strides]
        if resolution < prod(strides):
            raise UserError(
                f"{self.name}: images of {resolution} pixels are too small for the strides {strides}; "
                f"use at least {prod(strides)} pixels, or smaller stem_stride and stage_strides."
            )
        places = [Place(3, settings.channels(settings.stem_channels), settings.stem_stride, resolution)]

        def follow(channels: int, stride: int) -> None:
            last = places[-1]
            places.append(Place(last.out_channels, settings.channels(channels), stride, last.out_size))

        for repeats, channels, stride in zip(
            self._repeats, settings.stage_channels, settings.stage_strides, strict=True
        ):
            for layer in range(repeats):
                follow(channels, stride if layer == 0 else 1)
        follow(settings.head_channels, 1)
        return places

    def _build(self, choice: Choice, option: int, place: Place) -> nn.Module:
        return parse(choice.options[option]).build(place, self._activation)

    def _stem(self, place: Place) -> nn.Module:
        return conv_bn(place.in_channels, place.out_channels, STEM_KERNEL, place.stride, activation=self._activation)

    def _head(self, place: Place, num_classes: int | None) -> nn.Sequential:
        classes = self.num_classes if num_classes is None else num_classes
        parts = {
            "conv": conv_bn(place.in_channels, place.out_channels, 1, activation=self._activation),
            "pool": nn.AdaptiveAvgPool2d(1),
            "flatten": nn.Flatten(),
            "classifier": nn.Linear(place.out_channels, classes),
        }
        return nn.Sequential(OrderedDict(parts))


def _always_run(stem: Place, head: Place, num_classes: int) -> tuple[LatencyKey, LatencyKey, LatencyKey]:
    """The keys of the stem, the head convolution (with the pooling behind it) and the classifier."""
    return (
        LatencyKey("stem", stem.size, stem.in_channels, stem.out_channels, STEM_KERNEL, 0, stem.stride),
        LatencyKey("head", head.size, head.in_channels, head.out_channels, 1, 0, 1),
        LatencyKey("classifier", 1, head.out_channels, num_classes, 1, 0, 1),
    )


def _table(rows: Sequence[Sequence[float]]) -> Tensor:
    """Float64 of shape (choices, most options of a choice), 0 beyond a choice's options."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[0.0] * (longest - len(row))] for row in rows], dtype=torch.float64)


def _latency_ms(block: Block, place: Place, latency: LatencyTable, needed: bool) -> float:
    key = block.latency_key(place)
    if key is None:
        return 0.0
    return latency.latency_ms(key) if needed else latency.entries_ms.get(key, nan)
