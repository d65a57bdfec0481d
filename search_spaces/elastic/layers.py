"""Layers of which the first channels can be run alone: how a choice of channels shares one layer's weights.

How many channels come in is seen from the features, how many go out is asked for. A layer's weights for fewer channels
are the first slices of its tensors, in every dimension.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional as F

LoadHook = Callable[..., None]
"""Is given the module, the state that is loaded, the prefix of the module's keys in it, and more."""


class ElasticConv(nn.Conv2d):
    """A dense convolution or, where it has groups, a depthwise one, whose output channels lie by input channel."""

    def forward(self, features: Tensor, channels: int | None = None) -> Tensor:
        """The first `channels` of the output, all where none is given, from the first channels of the input."""
        channels = self.out_channels if channels is None else channels
        groups = 1 if self.groups == 1 else features.shape[1]
        weight = self.weight[:channels, : features.shape[1] // groups]
        bias = None if self.bias is None else self.bias[:channels]
        padding = cast("tuple[int, int]", self.padding)
        return F.conv2d(features, weight, bias, self.stride, padding, self.dilation, groups)


class ElasticNorm(nn.BatchNorm2d):
    """Batch norm of the first channels: it uses and moves their scale, shift and running statistics alone.

    Batches are counted over all widths together; a cumulative average (`momentum=None`) is one width's from its reset.
    """

    def forward(self, features: Tensor) -> Tensor:
        channels = features.shape[1]
        counted = cast(Tensor, self.num_batches_tracked)
        if self.training:
            counted.add_(1)
        share = 1 / int(counted) if self.training and self.momentum is None else self.momentum or 0.0
        return F.batch_norm(
            features,
            cast(Tensor, self.running_mean)[:channels],
            cast(Tensor, self.running_var)[:channels],
            self.weight[:channels],
            self.bias[:channels],
            self.training,
            share,
            self.eps,
        )


class ElasticConvNorm(nn.Sequential):
    """Convolution without bias and batch norm; padded so that stride 1 keeps the size."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, depthwise: bool = False):
        """A depthwise one gives each input channel `out_channels / in_channels` output channels."""
        groups = in_channels if depthwise else 1
        conv = ElasticConv(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
        super().__init__(conv, ElasticNorm(out_channels))

    @property
    def norm(self) -> ElasticNorm:
        return cast(ElasticNorm, self[1])

    def forward(self, features: Tensor, channels: int | None = None) -> Tensor:
        """The first `channels` of the output, all where none is given."""
        return cast(Tensor, self.norm(self[0](features, channels)))


def cut(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The first slices in every dimension; a view."""
    return tensor[tuple(slice(length) for length in shape)]


def cut_loaded_weights(module: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
    """A load-state-dict pre-hook: a wider module's weights are cut to this module's."""
    for name, own in module.state_dict().items():
        given = state.get(prefix + name)
        if given is not None and given.ndim == own.ndim:
            state[prefix + name] = cut(given, own.shape)
