"""Batch norm with fixed statistics, folded into the convolution before it: one pass less over the features."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class ConvNormPair(NamedTuple):
    """A convolution and the batch norm after it. `name` is the batch norm's name in `layers`."""

    layers: nn.Sequential
    name: str
    conv: nn.Conv2d
    norm: nn.BatchNorm2d


class FoldedPair(NamedTuple):
    """A pair as one convolution: its weights times `scale`, plus `shift`; both of shape (channels,)."""

    conv: nn.Conv2d
    weight: Tensor
    scale: Tensor
    shift: Tensor

    @classmethod
    def of(cls, pair: ConvNormPair, mean: Tensor, var: Tensor) -> FoldedPair:
        norm = pair.norm
        scale = norm.weight * torch.rsqrt(var + norm.eps) if norm.affine else torch.rsqrt(var + norm.eps)
        shift = (norm.bias if norm.affine else 0.0) - mean * scale
        return cls(pair.conv, pair.conv.weight, scale, shift)

    def put_into_convolution(self) -> None:
        """Let the convolution compute what the pair computes."""
        _set_tensors(self.conv, self.weight * self.scale[:, None, None, None], self.shift)


def find_pairs(modules: Iterable[nn.Module]) -> Iterator[ConvNormPair]:
    """Yield every pair within modules. A convolution with a bias of its own is left out."""
    for module in modules:
        for layers in module.modules():
            if isinstance(layers, nn.Sequential):
                for (_, first), (name, second) in pairwise(layers.named_children()):
                    if isinstance(first, nn.Conv2d) and first.bias is None and isinstance(second, nn.BatchNorm2d):
                        yield ConvNormPair(layers, name, first, second)


@contextmanager
def without_batch_norms(pairs: Iterable[ConvNormPair]) -> Iterator[None]:
    """Take the pairs' batch norms out of their layers. At the end, batch norms and convolutions are as before."""
    distinct = list({id(pair.norm): pair for pair in pairs}.values())
    weights = [pair.conv.weight for pair in distinct]
    identity = nn.Identity()
    try:
        for pair in distinct:
            pair.layers._modules[pair.name] = identity
        yield
    finally:
        for pair, weight in zip(distinct, weights, strict=True):
            pair.layers._modules[pair.name] = pair.norm
            _set_tensors(pair.conv, weight, None)


def _set_tensors(conv: nn.Conv2d, weight: Tensor, bias: Tensor | None) -> None:
    """Set a convolution's tensors, which need not be parameters."""
    tensors: dict[str, Any] = {"weight": weight, "bias": bias}
    conv._parameters.update(tensors)
