"""The optimizers of the settings: SGD, and RMSprop as EfficientNet has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor, nn

from raynas.recipe.settings import TrainingSettings


def make_optimizer(
    weights: Iterable[nn.Parameter], settings: TrainingSettings, owners: Iterable[nn.Module] = ()
) -> torch.optim.Optimizer:
    """Return the optimizer of the settings for these weights.

    Args:
        owners: the modules that hold the weights. Their kinds decide which weights `no_decay` spares.
    """
    rate, momentum = settings.learning_rate, settings.momentum
    spared = _spared(owners, settings.no_decay)
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for weight in weights:
        (others if id(weight) in spared else decayed).append(weight)
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}]
    if others:
        groups.append({"params": others, "weight_decay": 0.0})
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, rate, momentum, foreach=True)
    return EfficientNetRmsprop(groups, rate, momentum)


def _spared(owners: Iterable[nn.Module], kinds: Iterable[str]) -> set[int]:
    """Return the `id`s of the weights without decay: those of batch norms, and the biases of other layers."""
    spared: set[int] = set()
    for module in (module for owner in owners for module in owner.modules()):
        own = dict(module.named_parameters(recurse=False))
        if isinstance(module, nn.BatchNorm2d):
            spared |= {id(weight) for weight in own.values()} if "norm" in kinds else set()
        elif "bias" in own and "bias" in kinds:
            spared.add(id(own["bias"]))
    return spared


class EfficientNetRmsprop(torch.optim.Optimizer):
    """RMSprop as TensorFlow has it, with EfficientNet's constants (Tan and Le, 2019, section 5.2).

    For a gradient g, with weight decay added to it:

        s <- 0.9 s + 0.1 g^2, from s = 1
        v <- momentum v + rate g / sqrt(s + 0.001)
        w <- w - v

    `torch.optim.RMSprop` adds epsilon to the root instead, begins with s = 0, and multiplies v by the rate of now.
    """

    DECAY, EPSILON = 0.9, 1e-3

    def __init__(self, groups: Iterable[dict[str, Any]], rate: float, momentum: float) -> None:
        super().__init__(groups, {"lr": rate, "momentum": momentum, "weight_decay": 0.0})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Move all parameters that have gradients. Returns the loss of the closure, which computes them."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)
        return loss

    def _move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["square_average"], state["momentum"] = torch.ones_like(parameter), torch.zeros_like(parameter)
        square_average, momentum = state["square_average"], state["momentum"]
        if group["weight_decay"]:
            gradient = gradient.add(parameter, alpha=group["weight_decay"])
        square_average.mul_(self.DECAY).addcmul_(gradient, gradient, value=1 - self.DECAY)
        step = gradient * (square_average + self.EPSILON).rsqrt_()
        momentum.mul_(group["momentum"]).add_(step, alpha=group["lr"])
        parameter.sub_(momentum)
