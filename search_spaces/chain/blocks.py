"""The blocks that are options of a choice, as short texts that parse and print: `k3e6`, `k5e6se`, `skip`.

A block computes its cost at a place in the network from shapes alone, and builds its module there in its family's
style. Only `build` imports torch, with `chain.modules`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search_spaces.errors import UserError, nearest
from search_spaces.latency_table import LatencyKey
from search_spaces.layers.cost import FREE, LayerCost, conv_bn_cost, pointwise_cost, squeeze_cost
from search_spaces.layers.shapes import ACTIVATIONS, Place, multiple_of_8

if TYPE_CHECKING:
    from torch import nn

SQUEEZES = ("input", "expanded")


@dataclass(frozen=True)
class Style:
    """How a family builds its blocks.

    Attributes:
        activation: `relu`, `relu6`, `hard_swish` or `silu`.
        keep_expand: whether blocks of expansion 1 keep their 1x1 expand convolution.
        squeeze: the channels that squeeze-and-excitation narrows to. `input`: a quarter of the block's input channels,
            with the block's activation and a sigmoid as gate (MnasNet, EfficientNet). `expanded`: a quarter of the
            expanded channels, as a multiple of 8, with ReLU and a hard sigmoid as gate (MobileNetV3).

    Raises:
        UserError: if no activation or squeeze has the name.
    """

    activation: str = "relu6"
    keep_expand: bool = False
    squeeze: str = "input"

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise UserError(f"No activation is called {self.activation!r}; {nearest(self.activation, ACTIVATIONS)}")
        if self.squeeze not in SQUEEZES:
            raise UserError(f"A squeeze cannot be {self.squeeze!r}; {nearest(self.squeeze, SQUEEZES)}")

    def squeezed_channels(self, in_channels: int, hidden: int) -> int:
        """Return the channels between the two layers of a squeeze-and-excitation."""
        return max(1, in_channels // 4) if self.squeeze == "input" else multiple_of_8(hidden // 4)


class Block(ABC):
    """An operation, independent of its place."""

    @abstractmethod
    def cost(self, place: Place, style: Style) -> LayerCost:
        """Return the cost for one image at this place."""

    @abstractmethod
    def latency_key(self, place: Place, style: Style) -> LatencyKey | None:
        """Return the block's key in a latency table; None if nothing is computed."""

    @abstractmethod
    def build(self, place: Place, style: Style) -> nn.Module:
        """Build the module: (N, in_channels, size, size) to (N, out_channels, out_size, out_size)."""

    def has_shortcut(self, place: Place) -> bool:
        """Return whether its input also bypasses it, so that the network stays connected without the block."""
        return place.keeps_shape

    def misfit(self, place: Place) -> str | None:
        """Return why the block cannot stand at this place, as a sentence without its subject; None if it can."""
        return None


@dataclass(frozen=True)
class MBConv(Block):
    """MobileNetV2's inverted bottleneck, `k{kernel}e{expansion}`: 1x1 expand, depthwise, 1x1 project.

    The input is added if stride and channels keep the shape. Expansion 1 has no 1x1 expand convolution, unless the
    family keeps it; `sep{kernel}` never has it (MnasNet's SepConv). `k5e6se` has squeeze-and-excitation after the
    depthwise convolution. `k3g2` is FBNet's block of expansion 1: both 1x1 convolutions have two groups, and the
    channels are shuffled after the first.
    """

    kernel: int
    expansion: int
    se: bool = False
    groups: int = 1
    separable: bool = False

    def __str__(self) -> str:
        if self.separable:
            return f"sep{self.kernel}"
        width = f"g{self.groups}" if self.groups > 1 else f"e{self.expansion}"
        return f"k{self.kernel}{width}{'se' if self.se else ''}"

    def _expands(self, style: Style) -> bool:
        return not self.separable and (self.expansion > 1 or self.groups > 1 or style.keep_expand)

    def cost(self, place: Place, style: Style) -> LayerCost:
        hidden = place.in_channels * self.expansion
        cost = conv_bn_cost(hidden, hidden, self.kernel, place.out_size, groups=hidden, activation=True)
        cost += pointwise_cost(hidden, place.out_channels, place.out_size, self.groups)
        if self._expands(style):
            cost += pointwise_cost(place.in_channels, hidden, place.size, self.groups, activation=True)
        return cost + squeeze_cost(hidden, style.squeezed_channels(place.in_channels, hidden)) if self.se else cost

    def latency_key(self, place: Place, style: Style) -> LatencyKey:
        op = "mbconv-expand" if self.expansion == 1 and self._expands(style) else "mbconv"
        channels = place.in_channels, place.out_channels
        return LatencyKey(op, place.size, *channels, self.kernel, self.expansion, place.stride, self.se, self.groups)

    def build(self, place: Place, style: Style) -> nn.Module:
        from search_spaces.chain import modules

        hidden = place.in_channels * self.expansion
        squeezed = style.squeezed_channels(place.in_channels, hidden) if self.se else None
        squeeze = None if squeezed is None else (style.squeeze, squeezed)
        expands = self._expands(style)
        return modules.build_bottleneck(place, hidden, self.kernel, style.activation, expands, self.groups, squeeze)

    def misfit(self, place: Place) -> str | None:
        if place.in_channels % self.groups == place.out_channels % self.groups == 0:
            return None
        channels = f"{place.in_channels} and {place.out_channels}"
        return f"needs input and output channels that are multiples of {self.groups}, unlike {channels} here"


@dataclass(frozen=True)
class Basic(Block):
    """ResNet's basic block for CIFAR, `basic{kernel}`: two convolutions, with a shortcut before the last activation.

    If the shape changes, the shortcut takes the input's pixels at the stride, and zeros as the missing channels (option
    A).
    """

    kernel: int

    def __str__(self) -> str:
        return f"basic{self.kernel}"

    def cost(self, place: Place, style: Style) -> LayerCost:
        first = conv_bn_cost(place.in_channels, place.out_channels, self.kernel, place.out_size, activation=True)
        return first + conv_bn_cost(place.out_channels, place.out_channels, self.kernel, place.out_size, 1, True)

    def latency_key(self, place: Place, style: Style) -> LatencyKey:
        return LatencyKey("basic", place.size, place.in_channels, place.out_channels, self.kernel, 0, place.stride)

    def build(self, place: Place, style: Style) -> nn.Module:
        from search_spaces.chain import modules

        return modules.build_basic(place, self.kernel, style.activation)

    def has_shortcut(self, place: Place) -> bool:
        return True

    def misfit(self, place: Place) -> str | None:
        if place.out_channels >= place.in_channels:
            return None
        return f"only adds channels to its input, but {place.in_channels} would become {place.out_channels} here"


@dataclass(frozen=True)
class Skip(Block):
    """`skip`: the identity, without cost. If the shape changes, a strided 1x1 convolution with batch norm."""

    def __str__(self) -> str:
        return "skip"

    def cost(self, place: Place, style: Style) -> LayerCost:
        return FREE if place.keeps_shape else pointwise_cost(place.in_channels, place.out_channels, place.out_size)

    def latency_key(self, place: Place, style: Style) -> LatencyKey | None:
        if place.keeps_shape:
            return None
        return LatencyKey("skip", place.size, place.in_channels, place.out_channels, 1, 0, place.stride)

    def build(self, place: Place, style: Style) -> nn.Module:
        from search_spaces.chain import modules

        return modules.build_skip(place)


def parse(text: str) -> Block:
    """Return the block that `str()` wrote.

    Raises:
        UserError: if the text is no block.
    """
    match = re.fullmatch(r"skip|(k|sep|basic)([1-9]\d*)(?:e([1-9]\d*)|g([2-9]|[1-9]\d+))?(se)?", text)
    if match is not None:
        kind, kernel, expansion, groups, se = match.groups()
        if kind is None:
            return Skip()
        if int(kernel) % 2 == 1 and kind == "k" and (expansion or groups):
            return MBConv(int(kernel), int(expansion or 1), bool(se), int(groups or 1))
        if int(kernel) % 2 == 1 and kind != "k" and not (expansion or groups or se):
            return Basic(int(kernel)) if kind == "basic" else MBConv(int(kernel), 1, separable=True)
    raise UserError(
        f"{text!r} is no block. Write 'k3e6' for an inverted bottleneck of odd kernel 3 and expansion 6, 'k3e6se' with "
        "squeeze-and-excitation, 'k3g2' with two groups; or 'sep3', 'basic3' or 'skip'."
    )
