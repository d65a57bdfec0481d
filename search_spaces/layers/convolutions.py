"""Convolutions with batch norm, activations and shortcuts: the layers of every block."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "hard_swish": nn.Hardswish,
    "silu": nn.SiLU,
}


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


def conv_bn(
    in_channels: int,
    out_channels: int,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    activation: type[nn.Module] | None = None,
) -> nn.Module:
    """Build a convolution without bias, batch norm and activation. Padding keeps the size at stride 1 (odd kernels)."""
    padding = (kernel - 1) // 2
    convolution = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False)
    layers = [convolution, nn.BatchNorm2d(out_channels)]
    return nn.Sequential(*layers, *([] if activation is None else [activation(inplace=True)]))


class Residual(nn.Sequential):
    """Adds its layers' output to their input."""

    @property
    def branch(self) -> nn.Module:
        """The layer whose output is added to the input."""
        return self[-1]

    def forward(self, images: Tensor) -> Tensor:
        features = images
        for layer in self:
            features = layer(features)
        return images + features
