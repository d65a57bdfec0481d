"""What DARTS's evaluation networks have in training alone: a second classifier half way, and edges that drop out."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import torch
from torch import Tensor, nn

from search_spaces.blocks import Place

_HIDDEN = (128, 768)


def auxiliary_head(place: Place, num_classes: int) -> nn.Module:
    """Pooled to 2x2 pixels (5x5 windows where the features are larger), two convolutions, a linear layer.

    Args:
        place: of the features that it classifies.
    """
    size = place.out_size
    pool: nn.Module = nn.AvgPool2d(5, size - 5, count_include_pad=False) if size in (7, 8) else nn.AdaptiveAvgPool2d(2)
    first, second = _HIDDEN
    layers: dict[str, nn.Module] = {
        "relu": nn.ReLU(),
        "pool": pool,
        "conv1": nn.Conv2d(place.out_channels, first, 1, bias=False),
        "norm1": nn.BatchNorm2d(first),
        "relu1": nn.ReLU(),
        "conv2": nn.Conv2d(first, second, 2, bias=False),
        "norm2": nn.BatchNorm2d(second),
        "relu2": nn.ReLU(),
        "flatten": nn.Flatten(),
        "classifier": nn.Linear(second, num_classes),
    }
    return nn.Sequential(OrderedDict(layers))


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
