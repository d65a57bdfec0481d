"""The weight of each drawn architecture in a training step: equations 3, 6 and 7 of FP-NAS, as pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from search_spaces.costs import Amounts


def log_likelihoods(losses: Tensor, multiplicity: Tensor, scale: float) -> Tensor:
    """Return log(multiplicity x likelihood) of distinct architectures, shape (architectures,).

    Args:
        losses: mean cross-entropies on one batch, shape (architectures,).
        multiplicity: how often each architecture was drawn, shape (architectures,).
        scale: s. The likelihood of a batch is taken as exp(-s x loss), which does not underflow.
    """
    return multiplicity.to(losses).log() - scale * losses


def hinge_cost(costs: Mapping[str, Amounts], targets: Mapping[str, float]) -> Tensor:
    """Return the hinge cost C(A) = max(0, cost / target - 1) of equation 6, summed over the resources."""
    counts = {resource: torch.from_numpy(cost).double() for resource, cost in costs.items()}
    excess = [(counts[resource] / target - 1).clamp(min=0) for resource, target in targets.items()]
    return torch.stack(excess).sum(dim=0) if excess else torch.zeros_like(next(iter(counts.values())))


def importance(likelihoods: Tensor, hinge_costs: Tensor, cost_weight: float) -> Tensor:
    """Return m_k of equation 7. If every architecture meets the target, cost does not count.

    Args:
        likelihoods: each architecture's share of the likelihood, with sum 1.
        hinge_costs: each architecture's hinge cost times its multiplicity.
        cost_weight: beta of equation 6.
    """
    total = hinge_costs.sum()
    return likelihoods - cost_weight * torch.where(total > 0, hinge_costs / total, 0.0)


class WeightedGradientSum:
    """The sum of w_k x gradient of network k, for networks that run one after the other (equation 3).

    A network's weight is known only after all networks have run. So sums are kept relative to the greatest weight that
    has occurred.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self._parameters = list(parameters)
        self._sums: dict[nn.Parameter, Tensor] = {}
        self._greatest = -math.inf

    def add(self, log_weight: float) -> None:
        """Move the gradients that a network has left in the parameters into the sum."""
        greatest = max(self._greatest, log_weight)
        rescale, share = math.exp(self._greatest - greatest), math.exp(log_weight - greatest)
        self._greatest = greatest
        for parameter in self._parameters:
            gradient, parameter.grad = parameter.grad, None
            if parameter in self._sums:
                self._sums[parameter].mul_(rescale)
                if gradient is not None:
                    self._sums[parameter].add_(gradient, alpha=share)
            elif gradient is not None:
                self._sums[parameter] = gradient.mul_(share)

    def finish(self, log_total: float) -> None:
        """Leave the sum in the parameters; `log_total` is the logarithm of the sum of all weights."""
        for parameter, total in self._sums.items():
            parameter.grad = total.mul_(math.exp(self._greatest - log_total))
