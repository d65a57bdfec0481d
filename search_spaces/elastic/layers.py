"""Elastic layers: a layer with fewer channels uses the first channels of the widest layer's weights.

The features show the number of input channels; the caller chooses the number of output channels. A layer's weights for
fewer channels are the first slices of its tensors, in every dimension.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional as F

LoadHook = Callable[..., None]
"""Receives the module, the state to load, the prefix of the module's keys in it, and more."""


class ElasticConv(nn.Conv2d):
    """A dense convolution or, with groups, a depthwise one, whose output channels are ordered by input channel."""

    def forward(self, features: Tensor, channels: int | None = None) -> Tensor:
        """Return the first `channels` of the output (by default all), from the first channels of the input."""
        channels = self.out_channels if channels is None else channels
        groups = 1 if self.groups == 1 else features.shape[1]
        weight = self.weight[:channels, : features.shape[1] // groups]
        bias = None if self.bias is None else self.bias[:channels]
        padding = cast("tuple[int, int]", self.padding)
        return F.conv2d(features, weight, bias, self.stride, padding, self.dilation, groups)


class ElasticNorm(nn.BatchNorm2d):
    """Batch norm of the first channels. It uses and updates only their scale, shift and running statistics.

    Batches are counted over all widths together. With a cumulative average (`momentum=None`), only one width may run
    after a reset.
    """

    def forward(self, features: Tensor) -> Tensor:
        channels = features.shape[1]
        batches = cast(Tensor, self.num_batches_tracked)
        if self.training:
            batches.add_(1)
        momentum = 1 / int(batches) if self.training and self.momentum is None else self.momentum or 0.0
        return F.batch_norm(
            features,
            cast(Tensor, self.running_mean)[:channels],
            cast(Tensor, self.running_var)[:channels],
            self.weight[:channels],
            self.bias[:channels],
            self.training,
            momentum,
            self.eps,
        )


class ElasticConvNorm(nn.Sequential):
    """Convolution without bias and batch norm. Padding keeps the size at stride 1."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, depthwise: bool = False):
        """Build both. A depthwise convolution has `out_channels / in_channels` outputs for each input channel."""
        groups = in_channels if depthwise else 1
        conv = ElasticConv(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
        super().__init__(conv, ElasticNorm(out_channels))

    @property
    def norm(self) -> ElasticNorm:
        return cast(ElasticNorm, self[1])

    def forward(self, features: Tensor, channels: int | None = None) -> Tensor:
        """Return the first `channels` of the output, by default all."""
        return cast(Tensor, self.norm(self[0](features, channels)))


def cut(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return the first slices in every dimension, as a view."""
    return tensor[tuple(slice(length) for length in shape)]


def cut_loaded_weights(module: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
    """Cut a wider module's weights to this module's; a load-state-dict pre-hook."""
    for name, own in module.state_dict().items():
        loaded = state.get(prefix + name)
        if loaded is not None and loaded.ndim == own.ndim:
            state[prefix + name] = cut(loaded, own.shape)
