"""Equations 3, 6 and 7 of FP-NAS against brute force."""

from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from tuners.fp_nas.distribution import Factors
from tuners.fp_nas.importance import WeightedGradientSum, hinge_cost, importance, log_likelihoods

FACTORS = Factors([(0, 1, 2), (0, 1, 2)], [(0,), (1,)])
EVERY = torch.tensor(list(product(range(3), range(3))))
LOSSES = torch.tensor([0.2, 1.5, 0.9, 0.4, 2.0, 0.1, 1.1, 0.7, 0.3], dtype=torch.float64)
HINGE_COSTS = torch.tensor([0.0, 0.5, 0.2, 0.0, 0.1, 0.9, 0.0, 0.3, 0.4], dtype=torch.float64)
COST_WEIGHT = 0.3


def gradient(logits: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
    """Return the gradient of equation 7 by the functions under test, from distinct architectures with multiplicity."""
    alpha = logits.clone().requires_grad_()
    distinct, multiplicity = torch.unique(drawn, return_counts=True)
    likelihoods = log_likelihoods(LOSSES[distinct], multiplicity, scale=1.0).softmax(dim=0)
    weights = importance(likelihoods, multiplicity * HINGE_COSTS[distinct], COST_WEIGHT)
    torch.autograd.backward(-(weights * FACTORS.log_probability(alpha, EVERY[distinct])).sum())
    assert alpha.grad is not None
    return alpha.grad


def by_hand(logits: torch.Tensor, drawn: list[int]) -> torch.Tensor:
    """Return the gradient of equation 7, draw by draw."""
    p = torch.exp(-LOSSES)
    total, total_cost = sum(p[k] for k in drawn), sum(HINGE_COSTS[k] for k in drawn)
    summed = torch.zeros_like(logits)
    for k in drawn:
        m = p[k] / total - (COST_WEIGHT * HINGE_COSTS[k] / total_cost if total_cost > 0 else 0)
        for choice in range(2):
            one_hot = nn.functional.one_hot(EVERY[k, choice], 3)
            summed[choice] -= m * (one_hot - logits[choice].softmax(dim=0))
    return summed


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("drawn", [[4], [0], [3, 3], [1, 8, 8, 5], [0, 3, 6]])
def test_gradient_agrees_with_equation_7_draw_by_draw(logits: torch.Tensor, drawn: list[int]) -> None:
    torch.testing.assert_close(gradient(logits, torch.tensor(drawn)), by_hand(logits, drawn), rtol=0, atol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_mean_gradient_over_all_samples_agrees_with_the_enumeration(logits: torch.Tensor, count: int) -> None:
    probability = FACTORS.log_probability(logits, EVERY).exp()
    expected = sum(
        probability[list(drawn)].prod() * by_hand(logits, list(drawn)) for drawn in product(range(9), repeat=count)
    )
    ways = torch.tensor(list(product(range(9), repeat=count)))
    chances = probability[ways].prod(dim=1)
    distinct, where = torch.unique(ways.sort(dim=1).values, dim=0, return_inverse=True)
    chance = torch.zeros(len(distinct), dtype=torch.float64).index_add(0, where, chances)
    mean = sum(share * gradient(logits, drawn) for share, drawn in zip(chance, distinct, strict=True))
    torch.testing.assert_close(mean, expected, rtol=0, atol=1e-10)


def test_many_draws_give_the_gradient_of_the_loss(logits: torch.Tensor) -> None:
    """The loss is equation 6, summed over all nine architectures; its cost term is beta log C."""
    alpha = logits.clone().requires_grad_()
    probability = FACTORS.log_probability(alpha, EVERY).exp()
    loss = -torch.log((probability * torch.exp(-LOSSES)).sum()) + COST_WEIGHT * torch.log(
        (probability * HINGE_COSTS).sum()
    )
    torch.autograd.backward(loss)
    assert alpha.grad is not None
    chances = FACTORS.log_probability(logits, EVERY).exp()
    generator = torch.Generator().manual_seed(0)
    mean = torch.stack(
        [gradient(logits, torch.multinomial(chances, 5000, replacement=True, generator=generator)) for _ in range(400)]
    ).mean(dim=0)
    assert float((mean - alpha.grad).norm() / alpha.grad.norm()) < 0.01


def test_one_draw_only_reinforces_the_drawn_architecture(logits: torch.Tensor) -> None:
    step = -gradient(logits, torch.tensor([0]))
    assert (step[[0, 1], EVERY[0]] > 0).all()
    assert (step.sum(dim=1).abs() < 1e-12).all()


def test_cost_does_not_count_if_every_architecture_meets_the_target() -> None:
    likelihoods = torch.tensor([0.25, 0.75])
    assert importance(likelihoods, torch.zeros(2), 0.3).tolist() == [0.25, 0.75]
    weights = importance(likelihoods, torch.tensor([0.0, 2.0]), 0.3)
    torch.testing.assert_close(weights, torch.tensor([0.25, 0.45]))


def test_hinge_cost_by_hand() -> None:
    costs = {"macs": np.array([50, 100, 150]), "params": np.array([3, 2, 1])}
    assert hinge_cost(costs, {"macs": 100}).tolist() == [0, 0, 0.5]
    assert hinge_cost(costs, {"macs": 100, "params": 2}).tolist() == [0.5, 0, 0.5]
    assert hinge_cost(costs, {}).tolist() == [0, 0, 0]


def test_equation_3_is_the_gradient_of_the_mean_likelihood() -> None:
    """Three networks share a trunk, and one was drawn twice. Autograd through the logarithm gives the gradient."""
    torch.manual_seed(0)
    trunk, *branches = (nn.Linear(4, 4).double() for _ in range(4))
    images, labels = torch.randn(8, 4).double(), torch.randint(4, (8,))
    multiplicity, scale = torch.tensor([1, 2, 1]), 3.0

    def losses() -> list[torch.Tensor]:
        return [nn.functional.cross_entropy(branch(trunk(images).relu()), labels) for branch in branches]

    parameters = [parameter for module in (trunk, *branches) for parameter in module.parameters()]
    total = torch.logsumexp(log_likelihoods(torch.stack(losses()), multiplicity, scale), dim=0) / scale
    expected = torch.autograd.grad(-total, parameters)
    gradient_sum = WeightedGradientSum(parameters)
    values = []
    for number in range(3):
        loss = losses()[number]
        torch.autograd.backward(loss)
        values.append(loss.detach())
        gradient_sum.add(float(log_likelihoods(loss.detach(), multiplicity[number], scale)))
        assert all(parameter.grad is None for parameter in parameters)
    gradient_sum.finish(float(log_likelihoods(torch.stack(values), multiplicity, scale).logsumexp(dim=0)))
    for parameter, gradient in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=1e-12)


def test_losses_far_apart_neither_overflow_nor_vanish() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    gradient_sum = WeightedGradientSum([parameter])
    for log_weight, value in ((-5000.0, 1.0), (-10.0, 2.0), (-9000.0, 4.0)):
        parameter.grad = torch.tensor([value])
        gradient_sum.add(log_weight)
    gradient_sum.finish(-10.0)
    assert parameter.grad is not None
    assert float(parameter.grad) == 2.0
