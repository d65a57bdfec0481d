"""Convolutions with batch norm, activations and shortcuts: the layers of every block."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor, nn

ACTIVATION_LAYERS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "hard_swish": nn.Hardswish,
    "silu": nn.SiLU,
}


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


@runtime_checkable
class AddsInput(Protocol):
    """A block whose branches add to its input."""

    def last_norms(self) -> list[nn.BatchNorm2d]:
        """Return the last batch norm of each branch."""


class Residual(nn.Sequential):
    """Adds its layers' output to their input."""

    def last_norms(self) -> list[nn.BatchNorm2d]:
        """Return the last batch norm of the branch."""
        return [layer for layer in self.modules() if isinstance(layer, nn.BatchNorm2d)][-1:]

    @property
    def branch(self) -> nn.Module:
        """The layer whose output is added to the input."""
        return self[-1]

    def forward(self, images: Tensor) -> Tensor:
        features = images
        for layer in self:
            features = layer(features)
        return images + features
