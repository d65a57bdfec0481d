"""One update of one parameter group: gradients, their sum over the workers, the optimizer's step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from raynas.cluster.devices import autocast_dtype
from raynas.interfaces.objective import WEIGHTS, Gradients, TrainingStep, Update
from raynas.training.all_reduce import add_over_workers, add_zero_gradients

Optimizers = Mapping[str, torch.optim.Optimizer]
"""The optimizer of each parameter group; `weights` are the supernet's."""


def apply_update(
    update: Update, optimizers: Optimizers, rate: float, step: TrainingStep, clip_norm: float | None = None
) -> Gradients:
    """Move one parameter group once. Returns the paths, and the metrics summed over the workers.

    Parameters off the sampled paths have no gradients. They cost nothing, and neither momentum nor weight decay moves
    them. The other groups are frozen: no gradient is computed for them.

    Args:
        rate: the learning rate of the supernet's weights; other groups keep their own rates.
        clip_norm: the greatest norm of the gradients of the supernet's weights, after their sum over the workers.
    """
    optimizer = optimizers[update.parameters]
    for group in optimizers[WEIGHTS].param_groups:
        group["lr"] = rate
    others = [other for name, other in optimizers.items() if name != update.parameters]
    with _frozen(others), _autocast(step.micro_batches[0].images.device):
        gradients = update.accumulate(step)
    if update.spread:
        add_zero_gradients(_parameters(optimizer))
    with _only_moved(optimizer) as moved:
        metrics = add_over_workers(moved, gradients.metrics)
        if clip_norm is not None and update.parameters == WEIGHTS:
            nn.utils.clip_grad_norm_(moved, clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return Gradients(gradients.paths, metrics)


@contextmanager
def _frozen(optimizers: list[torch.optim.Optimizer]) -> Iterator[None]:
    parameters = [parameter for optimizer in optimizers for parameter in _parameters(optimizer)]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


@contextmanager
def _only_moved(optimizer: torch.optim.Optimizer) -> Iterator[list[nn.Parameter]]:
    """Yield the parameters with gradients. Meanwhile the optimizer holds only them, and looks at no others."""
    everything = [group["params"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["params"] = [parameter for parameter in group["params"] if parameter.grad is not None]
    try:
        yield list(_parameters(optimizer))
    finally:
        for group, parameters in zip(optimizer.param_groups, everything, strict=True):
            group["params"] = parameters


def _parameters(optimizer: torch.optim.Optimizer) -> Iterator[nn.Parameter]:
    return (parameter for group in optimizer.param_groups for parameter in group["params"])


def _autocast(device: torch.device) -> Any:
    dtype = autocast_dtype(
        device.type, device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    )
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)
