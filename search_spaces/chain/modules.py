"""The modules of the blocks of chain spaces: `chain.blocks` describes the blocks, this file builds their layers."""

from __future__ import annotations

from collections import OrderedDict
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.layers.convolutions import ACTIVATION_LAYERS, Residual, conv_bn
from search_spaces.layers.shapes import Place


def build_bottleneck(
    place: Place,
    hidden: int,
    kernel: int,
    activation: str,
    expands: bool,
    groups: int = 1,
    squeeze: tuple[str, int] | None = None,
) -> nn.Module:
    """Build an inverted bottleneck: 1x1 expand, depthwise, squeeze-and-excitation, 1x1 project.

    Args:
        hidden: the channels of the depthwise convolution.
        expands: whether there is a 1x1 expand convolution.
        groups: of the 1x1 convolutions; two or more shuffle the channels after the first.
        squeeze: of squeeze-and-excitation, the kind as in `Style.squeeze` and the channels; None without it.
    """
    layer = ACTIVATION_LAYERS[activation]
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if expands:
        layers["expand"] = conv_bn(place.in_channels, hidden, 1, groups=groups, activation=layer)
    if groups > 1:
        layers["shuffle"] = nn.ChannelShuffle(groups)
    layers["depthwise"] = conv_bn(hidden, hidden, kernel, place.stride, hidden, layer)
    if squeeze is not None:
        layers["squeeze"] = build_squeeze_excitation(hidden, *squeeze, layer)
    layers["project"] = conv_bn(hidden, place.out_channels, 1, groups=groups)
    return Residual(layers) if place.keeps_shape else nn.Sequential(layers)


def build_squeeze_excitation(hidden: int, kind: str, squeezed: int, activation: type[nn.Module]) -> nn.Module:
    from torchvision.ops import SqueezeExcitation  # takes two seconds to import; few spaces need it

    if kind == "input":
        return cast(nn.Module, SqueezeExcitation(hidden, squeezed, activation, nn.Sigmoid))
    return cast(nn.Module, SqueezeExcitation(hidden, squeezed, nn.ReLU, nn.Hardsigmoid))


def build_basic(place: Place, kernel: int, activation: str) -> nn.Module:
    """Build ResNet's basic block: two convolutions, with a shortcut before the last activation."""
    layer = ACTIVATION_LAYERS[activation]
    first = conv_bn(place.in_channels, place.out_channels, kernel, place.stride, activation=layer)
    second = conv_bn(place.out_channels, place.out_channels, kernel)
    return PaddedResidual(OrderedDict(first=first, second=second, activation=layer()), place)


def build_skip(place: Place) -> nn.Module:
    """Build the identity or, if the shape changes, a strided 1x1 convolution with batch norm."""
    return nn.Identity() if place.keeps_shape else conv_bn(place.in_channels, place.out_channels, 1, place.stride)


class PaddedResidual(Residual):
    """Adds the input, brought to the output's shape, before its last layer, the activation.

    The shortcut has no weights: it takes pixels at the stride, and adds channels of zeros after the input's own.
    """

    def __init__(self, layers: OrderedDict[str, nn.Module], place: Place) -> None:
        super().__init__(layers)
        self._stride = place.stride
        self._padding = place.out_channels - place.in_channels

    @property
    def branch(self) -> nn.Module:
        return self[-2]

    def forward(self, images: Tensor) -> Tensor:
        *layers, activation = self
        features = images
        for layer in layers:
            features = layer(features)
        shortcut = F.pad(images[:, :, :: self._stride, :: self._stride], (0, 0, 0, 0, 0, self._padding))
        return cast(Tensor, activation(features + shortcut))
