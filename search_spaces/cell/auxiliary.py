"""What DARTS's evaluation networks have in training alone: a second classifier half way, and edges that drop out."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import torch
from torch import Tensor, nn

_HIDDEN = (128, 768)


def auxiliary_head(channels: int, size: int, num_classes: int, norm: bool) -> nn.Module:
    """Features (N, channels, size, size) to logits: pooled to 2x2 pixels, two convolutions, a linear layer.

    Of 8 pixels (CIFAR-10) and of 7 (ImageNet) it is DARTS's: 5x5 windows at stride 3 or 2.

    Args:
        norm: whether the second convolution has a batch norm: DARTS's for CIFAR-10 has one, that for ImageNet none.
    """
    first, second = _HIDDEN
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["relu"] = nn.ReLU()
    layers["pool"] = nn.AvgPool2d(5, size - 5) if size in (7, 8) else nn.AdaptiveAvgPool2d(2)
    layers["conv1"] = nn.Conv2d(channels, first, 1, bias=False)
    layers["norm1"] = nn.BatchNorm2d(first)
    layers["relu1"] = nn.ReLU()
    layers["conv2"] = nn.Conv2d(first, second, 2, bias=False)
    if norm:
        layers["norm2"] = nn.BatchNorm2d(second)
    layers["relu2"] = nn.ReLU()
    layers["flatten"] = nn.Flatten()
    layers["classifier"] = nn.Linear(second, num_classes)
    return nn.Sequential(layers)


class DropPath:
    """For some images of a batch an operation's output is 0, for the others it is as much greater.

    Which images of the whole batch those are is drawn for each operation in turn, and so is the same however the batch
    is shared out.
    """

    def __init__(self, probability: float, seed: int, batch_size: int, first: int) -> None:
        """`first` is the place of the first image at hand in a batch of `batch_size`."""
        self._probability, self._batch_size, self._first = probability, batch_size, first
        self._generator = np.random.default_rng(seed)

    def __call__(self, features: Tensor) -> Tensor:
        drawn = self._generator.random(self._batch_size)[self._first : self._first + len(features)]
        kept = torch.from_numpy(drawn >= self._probability).to(features.device, features.dtype)
        return features * (kept / (1 - self._probability))[:, None, None, None]
