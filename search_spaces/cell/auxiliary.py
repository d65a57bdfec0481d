"""The parts of DARTS's networks that exist in training only: a second classifier half way, and drop path."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import torch
from torch import Tensor, nn

_HIDDEN = (128, 768)


def auxiliary_head(channels: int, size: int, num_classes: int, norm: bool) -> nn.Module:
    """Build a head from features (N, channels, size, size) to logits.

    It pools to 2x2 pixels, then has two convolutions and a linear layer. For 8 pixels (CIFAR-10) and 7 pixels
    (ImageNet) it is DARTS's: 5x5 windows at stride 3 or 2.

    Args:
        norm: whether the second convolution has a batch norm. DARTS's has one for CIFAR-10 and none for ImageNet.
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
    """Sets an operation's output to 0 for some images of a batch, and scales it up for the others.

    The images are drawn from the whole batch, for each operation in turn. The draw thus does not depend on how workers
    share the batch.
    """

    def __init__(self, probability: float, seed: int, batch_size: int, first: int) -> None:
        """Seed the draws.

        Args:
            batch_size: the number of images in the whole batch.
            first: the position in the batch of this worker's first image.
        """
        self._probability, self._batch_size, self._first = probability, batch_size, first
        self._generator = np.random.default_rng(seed)

    def __call__(self, features: Tensor) -> Tensor:
        drawn = self._generator.random(self._batch_size)[self._first : self._first + len(features)]
        kept = torch.from_numpy(drawn >= self._probability).to(features.device, features.dtype)
        return features * (kept / (1 - self._probability))[:, None, None, None]
