"""The statistics of a batch norm as a value that can be lent to it and taken back."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn


class BatchNormStatistics(NamedTuple):
    """What one batch norm has seen: buffers that it can be lent."""

    mean: Tensor
    var: Tensor
    batches: Tensor

    @classmethod
    def none_yet(cls, norm: nn.BatchNorm2d) -> BatchNormStatistics:
        mean, var = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
        return cls(torch.zeros_like(mean), torch.ones_like(var), torch.zeros((), dtype=torch.long, device=mean.device))

    @classmethod
    def own(cls, norm: nn.BatchNorm2d) -> BatchNormStatistics:
        tensors = norm.running_mean, norm.running_var, norm.num_batches_tracked
        return cls(*cast("tuple[Tensor, Tensor, Tensor]", tensors))

    def lend(self, norm: nn.BatchNorm2d) -> None:
        norm.running_mean, norm.running_var, norm.num_batches_tracked = self

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self)
