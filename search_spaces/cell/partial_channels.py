"""Partial channels (PC-DARTS, Xu et al., section 3.1): an edge's operations run on one channel in K, others pass by.

A supernet so takes a K-th of the memory, and little more than a K-th of the time; the channels are shuffled behind each
edge, so that the operations of the next see others.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def parted(features: Tensor, partial: int) -> tuple[Tensor, Tensor | None]:
    """What goes through an edge's operations, one channel in `partial`, and what passes by."""
    if partial == 1:
        return features, None
    through, by = features.tensor_split([features.shape[1] // partial], dim=1)
    return through, by


def joined(through: Tensor, by: Tensor, partial: int) -> Tensor:
    """Both again side by side, shuffled; what passed by is max-pooled where the operations have a stride of 2."""
    if by.shape[-1] != through.shape[-1]:
        by = functional.max_pool2d(by, 2, ceil_mode=True)
    channels = torch.cat([through, by], dim=1).permute(0, 2, 3, 1)  # last, as they lie in memory
    return channels.reshape(*channels.shape[:3], partial, -1).transpose(3, 4).flatten(3).permute(0, 3, 1, 2)
