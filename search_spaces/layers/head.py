"""The head of a layer-by-layer network: the layers after the last block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from search_spaces.latency_table import LatencyKey, TimedBlock
from search_spaces.layers.cost import LayerCost, linear_cost, pointwise_cost

if TYPE_CHECKING:
    from torch import nn

Part = Literal["pooling", "linear", "classifier"]


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

    def build(self, parts: Sequence[Part] = ("pooling", "linear", "classifier")) -> nn.Sequential:
        """Build the head, or only some of its parts: (N, in_channels, size, size) to (N, num_classes)."""
        from search_spaces.layers import head_layers

        built = {
            "pooling": lambda: head_layers.build_pooling(self.in_channels, self.conv_channels, self.activation),
            "linear": lambda: head_layers.build_linear(self.pooled, self.linear_features, self.activation),
            "classifier": lambda: head_layers.build_classifier(self.features, self.num_classes),
        }
        return head_layers.join([built[part]() for part in parts])

    def timed_layers(self) -> dict[LatencyKey, TimedBlock]:
        """Return the parts to measure: the convolution with the pooling after it, and each linear layer."""
        conv = "head" if self.conv_channels else "pool"
        parts = {
            LatencyKey(conv, self.size, self.in_channels, self.pooled, 1, 0, 1): TimedBlock(
                partial(self.build, ["pooling"]), (self.in_channels, self.size, self.size)
            )
        }
        if self.linear_features:
            parts[LatencyKey("linear", 1, self.pooled, self.linear_features, 1, 0, 1)] = TimedBlock(
                partial(self.build, ["linear"]), (self.pooled,)
            )
        parts[LatencyKey("classifier", 1, self.features, self.num_classes, 1, 0, 1)] = TimedBlock(
            partial(self.build, ["classifier"]), (self.features,)
        )
        return parts
