"""Recalibration of batch norm in a plain loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor, nn


def recalibrate(network: Callable[[Tensor], object], modules: Iterable[nn.Module], batches: Iterable[Tensor]) -> None:
    """Give all batch norm among the modules the mean statistics of the batches."""
    norms = [module for module in modules if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    for images in batches:
        network(images)
    for norm in norms:
        norm.eval()
