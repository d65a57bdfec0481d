"""The modules of the operations of cells: `cell.operations` describes the operations, this file builds their layers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.layers.shapes import Place


def build_conv_norm(place: Place, kernel: int, activation: bool, affine: bool) -> nn.Module:
    """Build activation, convolution and batch norm."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if activation:
        layers["relu"] = nn.ReLU()
    layers["conv"] = _conv(place.in_channels, place.out_channels, kernel, place.stride)
    layers["norm"] = nn.BatchNorm2d(place.out_channels, affine=affine)
    return nn.Sequential(layers)


def build_separable(places: Sequence[Place], kernel: int, dilation: int, affine: bool) -> nn.Module:
    """Build ReLU, depthwise convolution, 1x1 convolution and batch norm at each place."""
    parts = [_build_separable(place, kernel, dilation, affine) for place in places]
    return parts[0] if len(parts) == 1 else nn.Sequential(*parts)


def _build_separable(place: Place, kernel: int, dilation: int, affine: bool) -> nn.Module:
    layers = {
        "relu": nn.ReLU(),
        "depthwise": _conv(place.in_channels, place.in_channels, kernel, place.stride, dilation, place.in_channels),
        "pointwise": _conv(place.in_channels, place.out_channels, 1),
        "norm": nn.BatchNorm2d(place.out_channels, affine=affine),
    }
    return nn.Sequential(OrderedDict(layers))


def build_pooling(place: Place, greatest: bool, norm: bool) -> nn.Module:
    """Build 3x3 pooling, by the maximum or the mean, and a batch norm that is not affine."""
    pool: nn.Module = (
        nn.MaxPool2d(3, place.stride, padding=1)
        if greatest
        else nn.AvgPool2d(3, place.stride, padding=1, count_include_pad=False)
    )
    if not norm:
        return pool
    return nn.Sequential(OrderedDict(pool=pool, norm=nn.BatchNorm2d(place.out_channels, affine=False)))


def build_skip(place: Place, affine: bool) -> nn.Module:
    """Build the identity; a `FactorizedReduce` if the shape changes."""
    return nn.Identity() if place.keeps_shape else FactorizedReduce(place, affine)


class FactorizedReduce(nn.Module):
    """ReLU, two 1x1 convolutions, the second shifted by a pixel, concatenated, and batch norm."""

    def __init__(self, place: Place, affine: bool) -> None:
        super().__init__()
        half = place.out_channels // 2
        self.even = _conv(place.in_channels, half, 1, place.stride)
        self.odd = _conv(place.in_channels, place.out_channels - half, 1, place.stride)
        self.norm = nn.BatchNorm2d(place.out_channels, affine=affine)

    def forward(self, features: Tensor) -> Tensor:
        features = functional.relu(features)
        shifted = features[:, :, 1:, 1:]
        if features.shape[-1] % 2:
            shifted = functional.pad(shifted, (0, 1, 0, 1))
        normed: Tensor = self.norm(torch.cat([self.even(features), self.odd(shifted)], dim=1))
        return normed


class ResidualReduction(nn.Module):
    """Two blocks of ReLU, convolution and batch norm, beside a pooling and a 1x1 convolution."""

    def __init__(self, first: nn.Module, second: nn.Module, place: Place) -> None:
        super().__init__()
        self.first = first
        self.second = second
        self.pool = nn.AvgPool2d(place.stride, place.stride, ceil_mode=True)
        self.shortcut = _conv(place.in_channels, place.out_channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        residual: Tensor = self.second(self.first(features))
        shortcut: Tensor = self.shortcut(self.pool(features))
        return shortcut + residual


def build_classifier(place: Place, norm: bool, affine: bool) -> nn.Module:
    """Build global pooling and a linear layer; with `norm`, batch norm and ReLU come first."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if norm:
        layers["norm"] = nn.BatchNorm2d(place.in_channels, affine=affine)
        layers["relu"] = nn.ReLU()
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["classifier"] = nn.Linear(place.in_channels, place.out_channels)
    return nn.Sequential(layers)


def _conv(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, dilation: int = 1, groups: int = 1
) -> nn.Conv2d:
    """Build a convolution without bias; padding keeps the size at stride 1."""
    padding = dilation * (kernel - 1) // 2
    return nn.Conv2d(in_channels, out_channels, kernel, stride, padding, dilation, groups, bias=False)
