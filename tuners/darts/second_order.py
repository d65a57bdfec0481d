"""DARTS's second-order approximation (Liu et al., section 2.3): the gradient through the weights' next step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from raynas.interfaces.objective import MicroBatch, TrainingStep
from raynas.training.all_reduce import add_over_workers

RunMixture = Callable[[TrainingStep, Sequence[MicroBatch], Tensor], dict[str, Tensor]]
"""Adds the gradients of a mixture's loss on these images to all leaves that have one; returns the metrics."""


def unrolled_gradient(
    step: TrainingStep, mixture: Tensor, run_mixture: RunMixture, distance: float = 0.01
) -> dict[str, Tensor]:
    """Add to `mixture.grad` the gradient of L_val(w', mixture), where w' is the weights after their next step.

    Equation 7: grad_a L_val(w', a) - xi grad2_aw L_train(w, a) grad_w' L_val(w', a). The second term is a finite
    difference (equation 8), xi the step's learning rate, and w' the step that SGD takes with its momentum and decay.
    The weights end as they began; batch norm's running statistics have seen the images.

    Args:
        step: its micro-batches are L_val's, those beside it L_train's.
        mixture: the weights of the operations, a leaf of shape (choices, options).
        distance: how far the weights go to either side in the finite difference, in the norm of all of them together.

    Returns:
        The metrics of L_val at w'.
    """
    assert step.weights is not None
    (group,) = step.weights.param_groups
    with _moving(group["params"]) as weights:
        start = [weight.detach().clone() for weight in weights]
        constant = mixture.detach()

        run_mixture(step, step.beside, constant)
        next_step = [
            None if gradient is None else gradient + _inertia(step.weights, weight)
            for weight, gradient in zip(weights, _taken(weights), strict=True)
        ]
        _place(weights, start, next_step, -group["lr"])

        metrics = run_mixture(step, step.micro_batches, mixture)
        slope = _taken(weights)
        total = torch.stack([gradient.norm() for gradient in slope if gradient is not None]).norm()
        share = distance / float(total) if total > 0 else 0.0
        for sign in (1, -1) if share else ():
            _place(weights, start, slope, sign * share)
            there = mixture.detach().requires_grad_()
            run_mixture(step, step.beside, there)
            assert mixture.grad is not None
            assert there.grad is not None
            mixture.grad -= sign * group["lr"] / (2 * share) * there.grad
        _place(weights, start, slope, 0.0)
    return metrics


@contextmanager
def _moving(weights: Sequence[nn.Parameter]) -> Iterator[Sequence[nn.Parameter]]:
    """The weights with gradients for a while, in full precision, which the difference of two near gradients needs."""
    for weight in weights:
        weight.requires_grad_(True)
    try:
        with torch.autocast(weights[0].device.type, enabled=False):
            yield weights
    finally:
        for weight in weights:
            weight.requires_grad_(False)
            weight.grad = None


def _taken(weights: Sequence[nn.Parameter]) -> list[Tensor | None]:
    """The weights' gradients over all workers, which are then cleared."""
    add_over_workers(weights, {})
    taken = [weight.grad for weight in weights]
    for weight in weights:
        weight.grad = None
    return taken


def _inertia(sgd: torch.optim.Optimizer, weight: nn.Parameter) -> Tensor:
    """What momentum and decay add to a weight's gradient."""
    (group,) = sgd.param_groups
    inertia: Tensor = group["weight_decay"] * weight.detach()
    before: Tensor | None = sgd.state[weight].get("momentum_buffer") if weight in sgd.state else None
    return inertia if before is None else inertia + before * group["momentum"]


@torch.no_grad()
def _place(
    weights: Sequence[nn.Parameter], start: Sequence[Tensor], direction: Sequence[Tensor | None], distance: float
) -> None:
    """Put the weights so far from where they started, in a direction."""
    for weight, origin, way in zip(weights, start, direction, strict=True):
        weight.copy_(origin if way is None else origin + distance * way)
