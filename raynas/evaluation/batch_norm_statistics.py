"""The statistics of a batch norm as a value, so that it can compute with those of any sub-network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn


class BatchNormStatistics(NamedTuple):
    """The buffers of one batch norm: `running_mean`, `running_var`, `num_batches_tracked`."""

    mean: Tensor
    var: Tensor
    batches: Tensor

    @classmethod
    def empty(cls, norm: nn.BatchNorm2d) -> BatchNormStatistics:
        """Return the statistics of a batch norm before its first batch."""
        mean, var = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
        return cls(torch.zeros_like(mean), torch.ones_like(var), torch.zeros((), dtype=torch.long, device=mean.device))

    @classmethod
    def of(cls, norm: nn.BatchNorm2d) -> BatchNormStatistics:
        """Return the statistics that a batch norm holds now."""
        tensors = norm.running_mean, norm.running_var, norm.num_batches_tracked
        return cls(*cast("tuple[Tensor, Tensor, Tensor]", tensors))

    def put_into(self, norm: nn.BatchNorm2d) -> None:
        """Let a batch norm compute with, and update, these statistics."""
        norm.running_mean, norm.running_var, norm.num_batches_tracked = self

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self)


@contextmanager
def restoring(norms: Iterable[nn.BatchNorm2d]) -> Iterator[list[nn.BatchNorm2d]]:
    """Yield the distinct batch norms, and give them their statistics, momentum and mode back at the end."""
    distinct = list({id(norm): norm for norm in norms}.values())
    own = [(BatchNormStatistics.of(norm), norm.momentum, norm.training) for norm in distinct]
    try:
        yield distinct
    finally:
        for norm, (statistics, momentum, training) in zip(distinct, own, strict=True):
            statistics.put_into(norm)
            norm.momentum = momentum
            norm.train(training)
