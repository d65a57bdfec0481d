"""Space proposals: distributions over architectures that meet resource targets from the start (HourNAS section 3.3).

A proposal is theta, shape (choices, most options of a choice), of which softmax(theta / temperature) gives each
choice's probabilities; m of them are one tensor of shape (m, choices, options). Everything here is a function of theta
and of a cost table, whatever the space and however many resources have targets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from search_spaces.costs import TableCosts

_FIRST, _LAST = 5.0, 0.1
"""The temperature at which fitting begins and ends: figure 3's range."""
_STEPS, _RATE, _START = 500, 0.05, 0.5
_FALLING = 0.6
"""The share of the steps over which the temperature falls."""
_FLOOR_NATS, _FLOOR_WEIGHT = 7.2, 0.02
"""The entropy that a proposal keeps at the last temperature: exp(7.2) is 1,300 equally likely architectures."""
_FLOOR_SHARE = 0.3
"""The entropy that it keeps of a small space's."""
_RESOLUTION = 1e-9
"""Added to variances, as a share of the greatest cost squared, so that the root has a gradient at zero."""

Targets = Mapping[str, float]
"""For each resource (`macs`, `params`, `latency_ms`) what an architecture shall cost."""


def probabilities(theta: Tensor, temperature: float, kept: Tensor) -> Tensor:
    """Each choice's probabilities, the softmax of equation 4, at a temperature; pruned options have none.

    Args:
        theta: shape (..., choices, options).
        kept: which options survive, bool of shape (choices, options).
    """
    return torch.softmax((theta / temperature).masked_fill(~kept, -math.inf), dim=-1)


def target_distance(costs: TableCosts, distribution: Tensor, targets: Targets) -> Tensor:
    """Equations 5 and 6: sum over resources of |R_i - T_i| / M_i, where R_i is the expected cost.

    M_i is the greatest cost of an architecture of the space.

    Args:
        distribution: each choice's probabilities, or one-hot rows for an architecture, shape (..., choices, options).

    Returns:
        Shape (...).
    """
    expected, bounds = costs.expected(distribution), costs.bounds()
    parts = [(expected[name] - target).abs() / bounds[name][1] for name, target in targets.items()]
    return torch.stack(parts).sum(dim=0)


def overlap(theta: Tensor, kept: Tensor) -> Tensor:
    """The last term of equation 7: the entrywise sum of |Theta Theta^T - I| over m proposals.

    Each choice's theta is centred over its options, as the softmax does not see a constant, and each proposal is then
    one vector of length 1.

    Args:
        theta: shape (m, choices, options).
    """
    centred = torch.where(kept, theta - _mean(theta, kept), 0)
    rows = functional.normalize(centred.flatten(1), dim=1)
    return (rows @ rows.T - torch.eye(len(rows)).to(rows)).abs().sum()


def mix(weights: Tensor, distributions: Tensor) -> Tensor:
    """Equation 9: the sum over proposals of pi_i A(Theta_i).

    Args:
        weights: pi of equation 8, shape (m,), summing to 1.
        distributions: shape (m, choices, options).

    Returns:
        Shape (choices, options).
    """
    return torch.einsum("m,mco->co", weights, distributions)


def entropy(distribution: Tensor) -> Tensor:
    """In nats, of architectures drawn choice by choice: shape (..., choices, options) to (...)."""
    return -torch.xlogy(distribution, distribution.clamp(min=1e-30)).sum(dim=(-2, -1))


def spread(costs: TableCosts, distribution: Tensor) -> dict[str, Tensor]:
    """The standard deviation of each resource's cost when every choice is drawn on its own, each of shape (...)."""
    kept = costs.kept
    spreads = {}
    for name, table in costs.table.items():
        cost = table.where(kept, 0).to(distribution)
        mean = (distribution * cost).sum(dim=-1)
        variance = (distribution * cost**2).sum(dim=-1) - mean**2
        spreads[name] = variance.clamp(min=0).sum(dim=-1).add(_RESOLUTION * costs.bounds()[name][1] ** 2).sqrt()
    return spreads


def drawn_distance(costs: TableCosts, distribution: Tensor, targets: Targets) -> Tensor:
    """Equation 6 on drawn architectures: the mean of |R_i(A) - T_i| / M_i, summed over resources, shape (...).

    The cost of an architecture is a sum over many choices and so nearly normal; the mean of its distance from the
    target is then that of a folded normal. Unlike the distance of the mean it falls only when the draws themselves
    gather at the target.
    """
    expected, spreads, bounds = costs.expected(distribution), spread(costs, distribution), costs.bounds()
    parts = []
    for name, target in targets.items():
        off, sd = expected[name] - target, spreads[name]
        folded = sd * math.sqrt(2 / math.pi) * torch.exp(-((off / sd) ** 2) / 2) + off * torch.erf(off / sd / 2**0.5)
        parts.append(folded / bounds[name][1])
    return torch.stack(parts).sum(dim=0)


def fit(costs: TableCosts, targets: Targets, number: int, seed: int) -> Tensor:
    """`number` proposals that meet the targets when they are sharpened: equation 7, minimised by Adam.

    R_i(A) is read as the cost of drawn architectures (`drawn_distance`), at a temperature that falls from 5 to 0.1
    while the proposals are fitted, as it will in the search. A proposal that would end as a single architecture is held
    back by a floor under its entropy at 0.1. Twice as many are fitted from random starts, and the nearer half is kept.

    Returns:
        theta, float64 of shape (number, choices, most options of a choice).
    """
    kept = costs.kept
    floor_nats = min(_FLOOR_NATS, _FLOOR_SHARE * float(kept.sum(dim=-1).double().log().sum()))
    candidates = 2 * number
    start = torch.randn(candidates, *kept.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    theta = (_START * start).requires_grad_()
    adam = torch.optim.Adam([theta], lr=_RATE)
    for step in range(_STEPS):
        temperature = max(_LAST, _FIRST * (_LAST / _FIRST) ** (step / (_STEPS * _FALLING)))
        distance = drawn_distance(costs, probabilities(theta, temperature, kept), targets).sum()
        lack = torch.relu(floor_nats - entropy(probabilities(theta, _LAST, kept))).sum()
        loss = distance + overlap(theta, kept) / candidates**2 + _FLOOR_WEIGHT * lack
        adam.zero_grad()
        torch.autograd.backward(loss)
        adam.step()
    fitted = theta.detach()
    nearest = drawn_distance(costs, probabilities(fitted, _LAST, kept), targets).argsort()[:number]
    return fitted[nearest.sort().values]


def _mean(theta: Tensor, kept: Tensor) -> Tensor:
    return torch.where(kept, theta, 0).sum(dim=-1, keepdim=True) / kept.sum(dim=-1, keepdim=True)
