"""How much each drawn architecture counts: equations 3, 6 and 7 of FP-NAS, as pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn


def log_likelihoods(losses: Tensor, often: Tensor, scale: float) -> Tensor:
    """log of (times drawn x likelihood) of distinct architectures, each shape (architectures,).

    Args:
        losses: mean cross-entropies on one batch.
        often: how often each was drawn.
        scale: s; the likelihood of the batch is taken for exp(-s x loss), which does not underflow.
    """
    return often.to(losses).log() - scale * losses


def over_target(costs: Mapping[str, Tensor], targets: Mapping[str, float]) -> Tensor:
    """The hinge cost C(A) = max(0, cost / target - 1) of equation 6, summed over the resources."""
    over = [(costs[resource].double() / target - 1).clamp(min=0) for resource, target in targets.items()]
    return torch.stack(over).sum(dim=0) if over else torch.zeros_like(next(iter(costs.values())), dtype=torch.float64)


def importance(likelihoods: Tensor, over: Tensor, cost_weight: float) -> Tensor:
    """m_k of equation 7; where every architecture meets the target, cost does not count.

    Args:
        likelihoods: each architecture's share of the likelihood, summing to 1.
        over: its hinge cost, times how often it was drawn.
    """
    total = over.sum()
    return likelihoods - cost_weight * torch.where(total > 0, over / total, 0.0)


class WeighedGradients:
    """The sum of w_k x the gradient of network k, for networks that run one after the other (equation 3).

    What each network weighs is known only when all have run: sums are kept relative to the greatest weight so far.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self._parameters = list(parameters)
        self._sums: dict[nn.Parameter, Tensor] = {}
        self._greatest = -math.inf

    def add(self, log_weight: float) -> None:
        """Take over the gradients that a network has left in the parameters."""
        greatest = max(self._greatest, log_weight)
        before, now = math.exp(self._greatest - greatest), math.exp(log_weight - greatest)
        self._greatest = greatest
        for parameter in self._parameters:
            gradient, parameter.grad = parameter.grad, None
            if parameter in self._sums:
                self._sums[parameter].mul_(before)
                if gradient is not None:
                    self._sums[parameter].add_(gradient, alpha=now)
            elif gradient is not None:
                self._sums[parameter] = gradient.mul_(now)

    def finish(self, log_total: float) -> None:
        """Leave the sum in the parameters, `log_total` being the logarithm of all weights' sum."""
        for parameter, total in self._sums.items():
            parameter.grad = total.mul_(math.exp(self._greatest - log_total))
