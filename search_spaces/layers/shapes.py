"""The place of a layer in a network: its channels, its stride and its size. Nothing here needs torch."""

from __future__ import annotations

from dataclasses import dataclass, replace

ACTIVATIONS = ("relu", "relu6", "hard_swish", "silu")
"""The names of the activations; `convolutions.ACTIVATION_LAYERS` has their layers."""


@dataclass(frozen=True)
class Place:
    """The position of a block: its input and output channels, its stride, and its input's height in pixels."""

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

    def divided(self, by: int) -> Place:
        """Return the place with `1 / by` of its channels."""
        return replace(self, in_channels=self.in_channels // by, out_channels=self.out_channels // by)


def multiple_of_8(channels: float) -> int:
    """Return the nearest multiple of 8, at most 10 % below (MobileNet's rule)."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
