"""Partial channels (PC-DARTS, Xu et al., section 3.1): an edge's operations run on one channel in K, others pass by.

A supernet then needs a K-th of the memory, and little more than a K-th of the time. The channels are shuffled after
each edge, so that the next operations run on other channels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def split_channels(features: Tensor, partial: int) -> tuple[Tensor, Tensor | None]:
    """Return the channels for an edge's operations, one in `partial`, and the channels that pass by."""
    if partial == 1:
        return features, None
    active, passed = features.tensor_split([features.shape[1] // partial], dim=1)
    return active, passed


def join_channels(active: Tensor, passed: Tensor, partial: int) -> Tensor:
    """Join and shuffle both. Channels that passed by are max-pooled if the operations have stride 2."""
    if passed.shape[-1] != active.shape[-1]:
        passed = functional.max_pool2d(passed, 2, ceil_mode=True)
    channels = torch.cat([active, passed], dim=1).permute(0, 2, 3, 1)  # channels last, as in memory
    return channels.reshape(*channels.shape[:3], partial, -1).transpose(3, 4).flatten(3).permute(0, 3, 1, 2)
