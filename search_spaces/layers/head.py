"""The head of a layer-by-layer network: the layers after the last block."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from torch import nn

from search_spaces.latency_table import LatencyKey, TimedBlock
from search_spaces.layers.convolutions import ACTIVATIONS, conv_bn
from search_spaces.layers.cost import LayerCost, linear_cost, pointwise_cost


@dataclass(frozen=True)
class Head:
    """Features (N, in_channels, size, size) to logits (N, num_classes).

    Attributes:
        conv_channels: of a 1x1 convolution before the pooling; None without it, as in ResNet.
        linear_features: of a linear layer with activation between pooling and classifier, as in MobileNetV3; or None.
        activation: the name of the activation of both.
    """

    in_channels: int
    size: int
    conv_channels: int | None
    linear_features: int | None
    num_classes: int
    activation: str

    @property
    def pooled(self) -> int:
        return self.conv_channels or self.in_channels

    @property
    def features(self) -> int:
        return self.linear_features or self.pooled

    def cost(self) -> LayerCost:
        cost = linear_cost(self.features, self.num_classes)
        if self.linear_features:
            cost += linear_cost(self.pooled, self.linear_features) + LayerCost(0, 0, activations=self.linear_features)
        if self.conv_channels:
            cost += pointwise_cost(self.in_channels, self.conv_channels, self.size, activation=True)
        return cost

    def build(self) -> nn.Sequential:
        return nn.Sequential(OrderedDict(**self._pooling(), **self._linear(), **self._classifier()))

    def timed_layers(self) -> dict[LatencyKey, TimedBlock]:
        """Return the parts to measure: the convolution with the pooling after it, and each linear layer."""
        conv = "head" if self.conv_channels else "pool"
        parts = {
            LatencyKey(conv, self.size, self.in_channels, self.pooled, 1, 0, 1): TimedBlock(
                lambda: nn.Sequential(self._pooling()), (self.in_channels, self.size, self.size)
            )
        }
        if self.linear_features:
            parts[LatencyKey("linear", 1, self.pooled, self.linear_features, 1, 0, 1)] = TimedBlock(
                lambda: nn.Sequential(self._linear()), (self.pooled,)
            )
        parts[LatencyKey("classifier", 1, self.features, self.num_classes, 1, 0, 1)] = TimedBlock(
            lambda: nn.Sequential(self._classifier()), (self.features,)
        )
        return parts

    def _pooling(self) -> OrderedDict[str, nn.Module]:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if self.conv_channels:
            layers["conv"] = conv_bn(self.in_channels, self.conv_channels, 1, activation=ACTIVATIONS[self.activation])
        return OrderedDict(**layers, pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten())

    def _linear(self) -> OrderedDict[str, nn.Module]:
        if not self.linear_features:
            return OrderedDict()
        linear = nn.Linear(self.pooled, self.linear_features)
        return OrderedDict(linear=linear, activation=ACTIVATIONS[self.activation]())

    def _classifier(self) -> OrderedDict[str, nn.Module]:
        return OrderedDict(classifier=nn.Linear(self.features, self.num_classes))
