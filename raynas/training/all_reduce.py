"""Sums over data-parallel workers: gradients of the sampled paths and metrics, in one flat buffer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, distributed, nn


def add_over_workers(parameters: Iterable[nn.Parameter], metrics: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Replace each gradient by its sum over the workers, and return the sum of each metric, in one reduction.

    Every worker must have gradients of the same parameters and metrics of the same names.
    """
    if not several_workers():
        return dict(metrics)
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    scalars = [metrics[key].float() for key in sorted(metrics)]
    parts = [*gradients, *scalars]
    if not parts:
        return {}
    flat = torch.cat([part.reshape(-1) for part in parts])
    distributed.all_reduce(flat)
    sums = torch.split(flat, [part.numel() for part in parts])
    summed = [total.view(part.shape) for total, part in zip(sums, parts, strict=True)]
    if gradients:
        torch._foreach_copy_(gradients, summed[: len(gradients)])
    return dict(zip(sorted(metrics), summed[len(gradients) :], strict=True))


def sum_over_workers(tensor: Tensor) -> Tensor:
    """Return the sum over the workers of one tensor each, all of one shape."""
    if several_workers():
        distributed.all_reduce(tensor)
    return tensor


def add_zero_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Give every parameter that has a gradient on any worker a gradient on all workers: zeros if it had none."""
    if not several_workers():
        return
    each = list(parameters)
    present = torch.tensor([float(parameter.grad is not None) for parameter in each], device=each[0].device)
    for parameter, somewhere in zip(each, sum_over_workers(present).tolist(), strict=True):
        if somewhere and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)


def from_first_worker(value: int) -> int:
    """Return the first worker's value on every worker."""
    if not several_workers():
        return value
    shared = torch.tensor(value, device="cuda" if distributed.get_backend() == "nccl" else "cpu")
    distributed.broadcast(shared, src=0)
    return int(shared)


def several_workers() -> bool:
    return distributed.is_initialized() and distributed.get_world_size() > 1
