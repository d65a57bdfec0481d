"""Space proposals: distributions over architectures that meet resource targets from the start (HourNAS section 3.3).

A proposal is theta, shape (choices, most options of a choice). softmax(theta / temperature) is the probability of each
option of a choice. m proposals are one tensor of shape (m, choices, options). The functions of this file depend on
theta and a cost table alone, so that they fit every space and any number of targets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from search_spaces.costs import TableCosts
from tuners.gumbel_softmax import probabilities
from tuners.hour_nas.settings import ProposalFit

_VARIANCE_EPSILON = 1e-9
"""Added to variances, as a share of the greatest cost squared, so that the root has a gradient at zero."""

Targets = Mapping[str, float]
"""The target cost of an architecture for each resource (`macs`, `params`, `latency_ms`)."""


def target_distance(costs: TableCosts, distribution: Tensor, targets: Targets) -> Tensor:
    """Return the sum over resources of |R_i - T_i| / M_i (equations 5 and 6).

    R_i is the expected cost. M_i is the greatest cost of an architecture of the space.

    Args:
        distribution: each choice's probabilities, or one-hot rows for an architecture, shape (..., choices, options).

    Returns:
        Shape (...).
    """
    expected, bounds = costs.expected(distribution), costs.bounds()
    distances = [(expected[name] - target).abs() / bounds[name][1] for name, target in targets.items()]
    return torch.stack(distances).sum(dim=0)


def overlap(theta: Tensor, surviving: Tensor) -> Tensor:
    """Return the last term of equation 7: the entrywise sum of |Theta Theta^T - I| over m proposals.

    Each choice's theta is centred over its options, because the softmax does not see a constant. Each proposal then
    becomes one vector of length 1.

    Args:
        theta: shape (m, choices, options).
        surviving: which options survive, bool of shape (choices, options).
    """
    centred = torch.where(surviving, theta - _mean(theta, surviving), 0)
    rows = functional.normalize(centred.flatten(1), dim=1)
    return (rows @ rows.T - torch.eye(len(rows)).to(rows)).abs().sum()


def mix(weights: Tensor, distributions: Tensor) -> Tensor:
    """Return the sum over proposals of pi_i A(Theta_i) (equation 9).

    Args:
        weights: pi of equation 8, shape (m,), with sum 1.
        distributions: shape (m, choices, options).

    Returns:
        Shape (choices, options).
    """
    return torch.einsum("m,mco->co", weights, distributions)


def entropy(distribution: Tensor) -> Tensor:
    """Return the entropy, in nats, of architectures drawn choice by choice: shape (..., choices, options) to (...)."""
    return -torch.xlogy(distribution, distribution.clamp(min=1e-30)).sum(dim=(-2, -1))


def cost_deviation(costs: TableCosts, distribution: Tensor) -> dict[str, Tensor]:
    """Return the standard deviation of each resource's cost, shape (...), if every choice is drawn on its own."""
    deviations = {}
    for name, table in costs.table.items():
        cost = torch.from_numpy(np.where(costs.kept, table, 0)).to(distribution)
        mean = (distribution * cost).sum(dim=-1)
        variance = (distribution * cost**2).sum(dim=-1) - mean**2
        floor = _VARIANCE_EPSILON * costs.bounds()[name][1] ** 2
        deviations[name] = variance.clamp(min=0).sum(dim=-1).add(floor).sqrt()
    return deviations


def drawn_distance(costs: TableCosts, distribution: Tensor, targets: Targets) -> Tensor:
    """Return equation 6 for drawn architectures: the mean of |R_i(A) - T_i| / M_i, summed over resources, shape (...).

    The cost of an architecture is a sum over many choices, and so nearly normal. The mean of its distance from the
    target is therefore the mean of a folded normal distribution. Unlike the distance of the expected cost, this mean
    falls only if the drawn architectures themselves gather at the target.
    """
    expected, deviations, bounds = costs.expected(distribution), cost_deviation(costs, distribution), costs.bounds()
    distances = []
    for name, target in targets.items():
        off, sd = expected[name] - target, deviations[name]
        folded = sd * math.sqrt(2 / math.pi) * torch.exp(-((off / sd) ** 2) / 2) + off * torch.erf(off / sd / 2**0.5)
        distances.append(folded / bounds[name][1])
    return torch.stack(distances).sum(dim=0)


def fit(costs: TableCosts, targets: Targets, number: int, seed: int, settings: ProposalFit | None = None) -> Tensor:
    """Return `number` proposals that meet the targets once the temperature is low (line 13 of algorithm 1).

    Adam minimises equation 7. Its R_i(A) is read as the cost of drawn architectures (`drawn_distance`). The temperature
    falls during fitting, as it falls in the search. A floor under the entropy at the last temperature keeps a proposal
    from ending as a single architecture. Of all candidates, the nearest to the targets are kept.

    Args:
        settings: None for the defaults.

    Returns:
        theta, float64 of shape (number, choices, most options of a choice).
    """
    settings = settings or ProposalFit()
    surviving = torch.from_numpy(costs.kept)
    greatest_nats = float(surviving.sum(dim=-1).double().log().sum())
    min_entropy = min(settings.min_entropy_nats, settings.min_entropy_share * greatest_nats)
    candidates = settings.candidates * number
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(candidates, *surviving.shape, generator=generator, dtype=torch.float64)
    theta = (settings.initial_deviation * start).requires_grad_()
    adam = torch.optim.Adam([theta], lr=settings.learning_rate)
    for iteration in range(settings.iterations):
        distribution = probabilities(theta, settings.temperature(iteration), surviving)
        distance = drawn_distance(costs, distribution, targets).sum()
        sharpest = probabilities(theta, settings.last_temperature, surviving)
        missing_entropy = torch.relu(min_entropy - entropy(sharpest)).sum()
        loss = distance + overlap(theta, surviving) / candidates**2 + settings.entropy_weight * missing_entropy
        adam.zero_grad()
        torch.autograd.backward(loss)
        adam.step()
    fitted = theta.detach()
    distances = drawn_distance(costs, probabilities(fitted, settings.last_temperature, surviving), targets)
    nearest = distances.argsort()[:number]
    return fitted[nearest.sort().values]


def _mean(theta: Tensor, surviving: Tensor) -> Tensor:
    """Return the mean of theta over each choice's surviving options."""
    return torch.where(surviving, theta, 0).sum(dim=-1, keepdim=True) / surviving.sum(dim=-1, keepdim=True)
