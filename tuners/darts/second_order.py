"""DARTS's second-order approximation (Liu et al., section 2.3): the gradient through the weights' next step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from raynas.interfaces.objective import MicroBatch, TrainingStep
from raynas.training.all_reduce import add_over_workers

RunMixture = Callable[[TrainingStep, Sequence[MicroBatch], Tensor], dict[str, Tensor]]
"""Adds the gradients of a mixture's loss on the micro-batches to all leaves with gradients; returns the metrics."""


def unrolled_gradient(
    step: TrainingStep, mixture: Tensor, run_mixture: RunMixture, distance: float = 0.01
) -> dict[str, Tensor]:
    """Add to `mixture.grad` the gradient of L_val(w', mixture), where w' are the weights after their next step.

    Equation 7: grad_a L_val(w', a) - xi grad2_aw L_train(w, a) grad_w' L_val(w', a). The second term is a finite
    difference (equation 8). xi is the learning rate of the training step. w' is the result of one step of SGD with
    its momentum and weight decay. The weights end as they began, but batch norm's running statistics have moved.

    Args:
        step: its `micro_batches` are the images of L_val, its `beside` the images of L_train.
        mixture: the weights of the operations, a leaf of shape (choices, options).
        distance: the length of the finite difference to either side, in the norm over all weights together.

    Returns:
        The metrics of L_val at w'.
    """
    assert step.weights is not None
    groups = step.weights.param_groups
    rate = groups[0]["lr"]
    decays = [group["weight_decay"] for group in groups for _ in group["params"]]
    with _require_gradients([weight for group in groups for weight in group["params"]]) as weights:
        start = [weight.detach().clone() for weight in weights]
        constant = mixture.detach()

        run_mixture(step, step.beside, constant)
        next_step = [
            None if gradient is None else gradient + _momentum_and_decay(step.weights, weight, decay)
            for weight, decay, gradient in zip(weights, decays, _pop_gradients(weights), strict=True)
        ]
        _place(weights, start, next_step, -rate)

        metrics = run_mixture(step, step.micro_batches, mixture)
        slope = _pop_gradients(weights)
        total = torch.stack([gradient.norm() for gradient in slope if gradient is not None]).norm()
        epsilon = distance / float(total) if total > 0 else 0.0
        for sign in (1, -1) if epsilon else ():
            _place(weights, start, slope, sign * epsilon)
            displaced = mixture.detach().requires_grad_()
            run_mixture(step, step.beside, displaced)
            assert mixture.grad is not None
            assert displaced.grad is not None
            mixture.grad -= sign * rate / (2 * epsilon) * displaced.grad
        _place(weights, start, slope, 0.0)
    return metrics


@contextmanager
def _require_gradients(weights: Sequence[nn.Parameter]) -> Iterator[Sequence[nn.Parameter]]:
    """Let the weights have gradients in the `with` block, in full precision.

    Full precision is needed because the block subtracts two gradients that are nearly equal.
    """
    for weight in weights:
        weight.requires_grad_(True)
    try:
        with torch.autocast(weights[0].device.type, enabled=False):
            yield weights
    finally:
        for weight in weights:
            weight.requires_grad_(False)
            weight.grad = None


def _pop_gradients(weights: Sequence[nn.Parameter]) -> list[Tensor | None]:
    """Return the weights' gradients, summed over all workers, and clear them."""
    add_over_workers(weights, {})
    gradients = [weight.grad for weight in weights]
    for weight in weights:
        weight.grad = None
    return gradients


def _momentum_and_decay(sgd: torch.optim.Optimizer, weight: nn.Parameter, weight_decay: float) -> Tensor:
    """Return the part of SGD's step that momentum and weight decay add to a weight's gradient."""
    decay: Tensor = weight_decay * weight.detach()
    buffer: Tensor | None = sgd.state[weight].get("momentum_buffer") if weight in sgd.state else None
    return decay if buffer is None else decay + buffer * sgd.param_groups[0]["momentum"]


@torch.no_grad()
def _place(
    weights: Sequence[nn.Parameter], start: Sequence[Tensor], direction: Sequence[Tensor | None], distance: float
) -> None:
    """Set the weights to `start + distance * direction`."""
    for weight, origin, vector in zip(weights, start, direction, strict=True):
        weight.copy_(origin if vector is None else origin + distance * vector)
