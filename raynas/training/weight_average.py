"""The exponential moving average of a network's weights."""

from __future__ import annotations

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def moving_average(network: nn.Module, decay: float) -> AveragedModel:
    """Return the moving average of all weights and batch-norm statistics. Each training step keeps the share `decay`.

    After n training steps the share is (1 + n) / (10 + n) if that is less: otherwise the first weights would count for
    too long.
    """

    def average(averaged: Tensor, current: Tensor, steps: Tensor | int) -> Tensor:
        kept = min(decay, (1 + int(steps)) / (10 + int(steps)))
        return kept * averaged + (1 - kept) * current

    return AveragedModel(network, avg_fn=average, use_buffers=True)
