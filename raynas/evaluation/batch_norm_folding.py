"""Batch norm folded into the convolution before it, where its statistics are fixed: a pass less over the features."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Pair(NamedTuple):
    """A convolution and the batch norm that follows it in a sequence of layers, under `name`."""

    layers: nn.Sequential
    name: str
    conv: nn.Conv2d
    norm: nn.BatchNorm2d


class Folded(NamedTuple):
    """What a pair computes as one convolution: its weights times `scale`, plus `shift`; both of shape (channels,)."""

    conv: nn.Conv2d
    weight: Tensor
    scale: Tensor
    shift: Tensor

    @classmethod
    def of(cls, pair: Pair, mean: Tensor, var: Tensor) -> Folded:
        norm = pair.norm
        scale = norm.weight * torch.rsqrt(var + norm.eps) if norm.affine else torch.rsqrt(var + norm.eps)
        shift = (norm.bias if norm.affine else 0.0) - mean * scale
        return cls(pair.conv, pair.conv.weight, scale, shift)

    def lend(self) -> None:
        """Let the convolution compute as the pair does."""
        weight = self.weight * self.scale[:, None, None, None]
        _compute_with(self.conv, weight, self.shift)


def pairs(modules: Iterable[nn.Module]) -> Iterator[Pair]:
    """Every pair within these modules. A convolution with a bias of its own is left as it is."""
    for module in modules:
        for layers in module.modules():
            if isinstance(layers, nn.Sequential):
                for (_, first), (name, second) in pairwise(layers.named_children()):
                    if isinstance(first, nn.Conv2d) and first.bias is None and isinstance(second, nn.BatchNorm2d):
                        yield Pair(layers, name, first, second)


@contextmanager
def without_norms(found: Iterable[Pair]) -> Iterator[None]:
    """Take the batch norms out of their layers; in the end they, and the convolutions, are as they were."""
    each = list({id(pair.norm): pair for pair in found}.values())
    weights = [pair.conv.weight for pair in each]
    nothing = nn.Identity()
    try:
        for pair in each:
            pair.layers._modules[pair.name] = nothing
        yield
    finally:
        for pair, weight in zip(each, weights, strict=True):
            pair.layers._modules[pair.name] = pair.norm
            _compute_with(pair.conv, weight, None)


def _compute_with(conv: nn.Conv2d, weight: Tensor, bias: Tensor | None) -> None:
    """Lend a convolution tensors, which need not be parameters."""
    lent: dict[str, Any] = {"weight": weight, "bias": bias}
    conv._parameters.update(lent)
