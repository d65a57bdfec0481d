"""The operations of cells, in the form of DARTS and NAS-Bench-201: activation first, batch norm last.

An operation computes its cost at a place in the network from shapes alone, and builds its module there. `affine` means
that its batch norm has a trainable scale and shift. Only `build` imports torch, with `cell.modules`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search_spaces.latency_table import LatencyKey
from search_spaces.layers.shapes import Place

if TYPE_CHECKING:
    from torch import nn
from search_spaces.layers.cost import FREE, LayerCost, linear_cost


class Operation(ABC):
    """An operation, independent of its place."""

    @abstractmethod
    def cost(self, place: Place, affine: bool) -> LayerCost:
        """Return the cost for one image at this place."""

    @abstractmethod
    def latency_key(self, place: Place) -> LatencyKey | None:
        """Return the operation's key in a latency table, independent of `affine`; None if nothing is computed."""

    @abstractmethod
    def build(self, place: Place, affine: bool) -> nn.Module:
        """Build the module: (N, in_channels, size, size) to (N, out_channels, out_size, out_size)."""


@dataclass(frozen=True)
class ConvNorm(Operation):
    """Activation, convolution and batch norm. The first convolution of a network has no activation before it."""

    kernel: int
    activation: bool = True

    def cost(self, place: Place, affine: bool) -> LayerCost:
        cost = _conv_cost(place.in_channels, place.out_channels, self.kernel, place.out_size)
        cost += _norm_cost(place.out_channels, affine)
        return cost + _relu_cost(place.in_channels, place.size) if self.activation else cost

    def latency_key(self, place: Place) -> LatencyKey:
        return _key("relu-conv" if self.activation else "conv", place, self.kernel)

    def build(self, place: Place, affine: bool) -> nn.Module:
        from search_spaces.cell import modules

        return modules.build_conv_norm(place, self.kernel, self.activation, affine)


@dataclass(frozen=True)
class SeparableConv(Operation):
    """ReLU, depthwise convolution, 1x1 convolution and batch norm, `times` over. The first round has the stride."""

    kernel: int
    times: int = 1
    dilation: int = 1

    def _places(self, place: Place) -> list[Place]:
        others = self.times - 1
        outs = [place.in_channels] * others + [place.out_channels]
        strides = [place.stride] + [1] * others
        sizes = [place.size] + [place.out_size] * others
        return [Place(place.in_channels, *shape) for shape in zip(outs, strides, sizes, strict=True)]

    def cost(self, place: Place, affine: bool) -> LayerCost:
        cost = FREE
        for part in self._places(place):
            channels = part.in_channels
            cost += _relu_cost(channels, part.size)
            cost += _conv_cost(channels, channels, self.kernel, part.out_size, groups=channels)
            cost += _conv_cost(channels, part.out_channels, 1, part.out_size)
            cost += _norm_cost(part.out_channels, affine)
        return cost

    def latency_key(self, place: Place) -> LatencyKey:
        op = f"sep-conv-{self.times}x" + (f"-dilation-{self.dilation}" if self.dilation > 1 else "")
        return _key(op, place, self.kernel)

    def build(self, place: Place, affine: bool) -> nn.Module:
        from search_spaces.cell import modules

        return modules.build_separable(self._places(place), self.kernel, self.dilation, affine)


@dataclass(frozen=True)
class Pooling(Operation):
    """3x3 pooling: the maximum or the mean of the pixels inside the image. DARTS adds a batch norm, never affine."""

    greatest: bool = False
    norm: bool = False

    def cost(self, place: Place, affine: bool) -> LayerCost:
        return FREE

    def latency_key(self, place: Place) -> LatencyKey:
        op = ("max-pool" if self.greatest else "avg-pool") + ("-norm" if self.norm else "")
        return _key(op, place, kernel=3)

    def build(self, place: Place, affine: bool) -> nn.Module:
        from search_spaces.cell import modules

        return modules.build_pooling(place, self.greatest, self.norm)


@dataclass(frozen=True)
class SkipConnect(Operation):
    """The identity, without cost; a `FactorizedReduce` if the shape changes."""

    def cost(self, place: Place, affine: bool) -> LayerCost:
        return FREE if place.keeps_shape else FactorizedReduce().cost(place, affine)

    def latency_key(self, place: Place) -> LatencyKey | None:
        return None if place.keeps_shape else FactorizedReduce().latency_key(place)

    def build(self, place: Place, affine: bool) -> nn.Module:
        from search_spaces.cell import modules

        return modules.build_skip(place, affine)


@dataclass(frozen=True)
class FactorizedReduce(Operation):
    """ReLU, two 1x1 convolutions of stride 2, the second shifted by a pixel, concatenated, and batch norm."""

    def cost(self, place: Place, affine: bool) -> LayerCost:
        convolutions = _conv_cost(place.in_channels, place.out_channels, 1, place.out_size)
        return _relu_cost(place.in_channels, place.size) + convolutions + _norm_cost(place.out_channels, affine)

    def latency_key(self, place: Place) -> LatencyKey:
        return _key("factorized-reduce", place, kernel=1)

    def build(self, place: Place, affine: bool) -> nn.Module:
        from search_spaces.cell import modules

        return modules.FactorizedReduce(place, affine)


@dataclass(frozen=True)
class ResidualReduction(Operation):
    """NAS-Bench-201's block between stages: two 3x3 ReLU-conv-BN beside a 2x2 pooling and a 1x1 convolution."""

    def _places(self, place: Place) -> tuple[Place, Place]:
        return place, Place(place.out_channels, place.out_channels, 1, place.out_size)

    def cost(self, place: Place, affine: bool) -> LayerCost:
        first, second = (ConvNorm(3).cost(part, affine) for part in self._places(place))
        return first + second + _conv_cost(place.in_channels, place.out_channels, 1, place.out_size)

    def latency_key(self, place: Place) -> LatencyKey:
        return _key("residual-reduction", place, kernel=3)

    def build(self, place: Place, affine: bool) -> nn.Module:
        from search_spaces.cell import modules

        first, second = (ConvNorm(3).build(part, affine) for part in self._places(place))
        return modules.ResidualReduction(first, second, place)


@dataclass(frozen=True)
class Classifier(Operation):
    """Global pooling and a linear layer; in NAS-Bench-201 batch norm and ReLU come first."""

    norm: bool = False

    def cost(self, place: Place, affine: bool) -> LayerCost:
        linear = linear_cost(place.in_channels, place.out_channels)
        if not self.norm:
            return linear
        return _norm_cost(place.in_channels, affine) + _relu_cost(place.in_channels, place.size) + linear

    def latency_key(self, place: Place) -> LatencyKey:
        return _key("norm-pool-classifier" if self.norm else "pool-classifier", place, kernel=1)

    def build(self, place: Place, affine: bool) -> nn.Module:
        from search_spaces.cell import modules

        return modules.build_classifier(place, self.norm, affine)


def _key(op: str, place: Place, kernel: int) -> LatencyKey:
    return LatencyKey(op, place.size, place.in_channels, place.out_channels, kernel, 0, place.stride)


def _conv_cost(in_channels: int, out_channels: int, kernel: int, out_size: int, groups: int = 1) -> LayerCost:
    weights = out_channels * (in_channels // groups) * kernel**2
    return LayerCost(weights * out_size**2, weights)


def _norm_cost(channels: int, affine: bool) -> LayerCost:
    params = 2 * channels if affine else 0
    return LayerCost(0, params, norm_params=params)


def _relu_cost(channels: int, size: int) -> LayerCost:
    return LayerCost(0, 0, activations=channels * size**2)
