"""One update of one group of parameters: gradients, their sum over the workers, the optimizer's step."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from raynas.objective import Step, Update
from raynas.recipe import TrainingSettings
from raynas.training.gradients import add_over_workers


def carry_out(update: Update, optimizer: torch.optim.Optimizer, rate: float, step: Step) -> dict[str, Tensor]:
    """Move the optimizer's parameters once, at learning rate `rate`; returns the metrics summed over the workers.

    Parameters off the sampled paths have no gradients: they cost nothing, and neither momentum nor weight decay moves
    them.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate
    with _autocast(step.micro_batches[0].images.device):
        gradients = update.accumulate(step)
    moved = (parameter for group in optimizer.param_groups for parameter in group["params"])
    metrics = add_over_workers(moved, gradients.metrics)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return metrics


def optimizer_of(model: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """The optimizer that the settings ask for, over all of a model's parameters."""
    kind = torch.optim.SGD if settings.optimizer == "sgd" else torch.optim.RMSprop
    return kind(
        model.parameters(),
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        foreach=True,
    )


def _autocast(device: torch.device) -> Any:
    return torch.autocast(device.type, torch.bfloat16) if device.type == "cuda" else nullcontext()
