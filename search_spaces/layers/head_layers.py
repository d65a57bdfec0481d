"""The layers of the head of a layer-by-layer network."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from search_spaces.layers.convolutions import ACTIVATION_LAYERS, conv_bn


def build_pooling(in_channels: int, conv_channels: int | None, activation: str) -> OrderedDict[str, nn.Module]:
    """Build the 1x1 convolution, if the head has one, and the global pooling after it."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if conv_channels:
        layers["conv"] = conv_bn(in_channels, conv_channels, 1, activation=ACTIVATION_LAYERS[activation])
    return OrderedDict(**layers, pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten())


def build_linear(in_features: int, out_features: int | None, activation: str) -> OrderedDict[str, nn.Module]:
    """Build the linear layer before the classifier, if the head has one, and its activation."""
    if not out_features:
        return OrderedDict()
    return OrderedDict(linear=nn.Linear(in_features, out_features), activation=ACTIVATION_LAYERS[activation]())


def build_classifier(features: int, num_classes: int) -> OrderedDict[str, nn.Module]:
    return OrderedDict(classifier=nn.Linear(features, num_classes))


def join(parts: Sequence[OrderedDict[str, nn.Module]]) -> nn.Sequential:
    """Return the layers of all parts, one after the other."""
    return nn.Sequential(OrderedDict(item for part in parts for item in part.items()))
