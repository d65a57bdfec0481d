"""The operations that a choice chooses among, as short strings that parse and print: `k3e6`, `skip`.

A block knows what it costs at a place in the network from the shapes alone, and builds itself there.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import OrderedDict
from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from search_spaces.counting import FREE, Cost, conv_bn_cost
from search_spaces.errors import UserError
from search_spaces.latency import LatencyKey


@dataclass(frozen=True)
class Place:
    """Where a block stands: the channels that it takes and gives, its stride, and its input's height in pixels."""

    in_channels: int
    out_channels: int
    stride: int
    size: int

    @property
    def out_size(self) -> int:
        return (self.size - 1) // self.stride + 1

    @property
    def keeps_shape(self) -> bool:
        return self.stride == 1 and self.in_channels == self.out_channels


def conv_bn(
    in_channels: int,
    out_channels: int,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    activation: type[nn.Module] | None = None,
) -> nn.Module:
    """Convolution without bias, batch norm and activation; odd kernels are padded so that stride 1 keeps the size."""
    from torchvision.ops import Conv2dNormActivation  # two seconds to import, and costs need no modules

    return cast(
        nn.Module,
        Conv2dNormActivation(in_channels, out_channels, kernel, stride, groups=groups, activation_layer=activation),
    )


class Block(ABC):
    """One operation, whatever its place."""

    @abstractmethod
    def cost(self, place: Place) -> Cost:
        """What one image costs here."""

    @abstractmethod
    def latency_key(self, place: Place) -> LatencyKey | None:
        """Under which key a latency table knows this block here; None where nothing is computed."""

    @abstractmethod
    def build(self, place: Place, activation: type[nn.Module]) -> nn.Module:
        """The module: (N, in_channels, size, size) to (N, out_channels, out_size, out_size)."""


@dataclass(frozen=True)
class MBConv(Block):
    """MobileNetV2's inverted bottleneck, `k{kernel}e{expansion}`: 1x1 expand, depthwise, 1x1 project.

    Expansion 1 has no 1x1 expand convolution. The input is added where stride and channels leave the shape as it is.
    """

    kernel: int
    expansion: int

    def __str__(self) -> str:
        return f"k{self.kernel}e{self.expansion}"

    def cost(self, place: Place) -> Cost:
        hidden = place.in_channels * self.expansion
        depthwise = conv_bn_cost(hidden, hidden, self.kernel, place.out_size, groups=hidden)
        project = conv_bn_cost(hidden, place.out_channels, 1, place.out_size)
        if self.expansion == 1:
            return depthwise + project
        return conv_bn_cost(place.in_channels, hidden, 1, place.size) + depthwise + project

    def latency_key(self, place: Place) -> LatencyKey:
        return LatencyKey(
            "mbconv", place.size, place.in_channels, place.out_channels, self.kernel, self.expansion, place.stride
        )

    def build(self, place: Place, activation: type[nn.Module]) -> nn.Module:
        hidden = place.in_channels * self.expansion
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if self.expansion != 1:
            layers["expand"] = conv_bn(place.in_channels, hidden, 1, activation=activation)
        layers["depthwise"] = conv_bn(hidden, hidden, self.kernel, place.stride, hidden, activation)
        layers["project"] = conv_bn(hidden, place.out_channels, 1)
        return Residual(layers) if place.keeps_shape else nn.Sequential(layers)


@dataclass(frozen=True)
class Skip(Block):
    """`skip`: the identity, at no cost; where the shape changes, a strided 1x1 convolution with batch norm."""

    def __str__(self) -> str:
        return "skip"

    def cost(self, place: Place) -> Cost:
        if place.keeps_shape:
            return FREE
        return conv_bn_cost(place.in_channels, place.out_channels, 1, place.out_size)

    def latency_key(self, place: Place) -> LatencyKey | None:
        if place.keeps_shape:
            return None
        return LatencyKey("skip", place.size, place.in_channels, place.out_channels, 1, 0, place.stride)

    def build(self, place: Place, activation: type[nn.Module]) -> nn.Module:
        return nn.Identity() if place.keeps_shape else conv_bn(place.in_channels, place.out_channels, 1, place.stride)


class Residual(nn.Sequential):
    """What its layers make of the input, plus the input."""

    def forward(self, images: Tensor) -> Tensor:
        features = images
        for layer in self:
            features = layer(features)
        return images + features


def parse(text: str) -> Block:
    """The block that `str()` wrote.

    Raises:
        UserError: if the text is no block.
    """
    if text == "skip":
        return Skip()
    numbers = re.fullmatch(r"k([1-9]\d*)e([1-9]\d*)", text)
    if numbers is None or int(numbers[1]) % 2 == 0:
        raise UserError(f"{text!r} is no block; 'skip' is one, and 'k3e6' is an inverted bottleneck of odd kernel 3.")
    return MBConv(int(numbers[1]), int(numbers[2]))
