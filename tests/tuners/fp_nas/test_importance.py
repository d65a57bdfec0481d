"""Equations 3, 6 and 7 of FP-NAS against brute force."""

from itertools import product

import pytest
import torch
from torch import nn

from tuners.fp_nas.distribution import Factors
from tuners.fp_nas.importance import WeighedGradients, importance, log_likelihoods, over_target

FACTORS = Factors([(0, 1, 2), (0, 1, 2)], [(0,), (1,)])
EVERY = torch.tensor(list(product(range(3), range(3))))
LOSSES = torch.tensor([0.2, 1.5, 0.9, 0.4, 2.0, 0.1, 1.1, 0.7, 0.3], dtype=torch.float64)
OVER = torch.tensor([0.0, 0.5, 0.2, 0.0, 0.1, 0.9, 0.0, 0.3, 0.4], dtype=torch.float64)
COST_WEIGHT = 0.3


def gradient(logits: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
    """Equation 7's from draws with repeats, by the functions under test: distinct ones with their multiplicity."""
    alpha = logits.clone().requires_grad_()
    distinct, often = torch.unique(drawn, return_counts=True)
    likelihoods = log_likelihoods(LOSSES[distinct], often, scale=1.0).softmax(dim=0)
    weights = importance(likelihoods, often * OVER[distinct], COST_WEIGHT)
    torch.autograd.backward(-(weights * FACTORS.log_probability(alpha, EVERY[distinct])).sum())
    assert alpha.grad is not None
    return alpha.grad


def by_hand(logits: torch.Tensor, drawn: list[int]) -> torch.Tensor:
    """Equation 7, draw by draw."""
    p = torch.exp(-LOSSES)
    total, total_over = sum(p[k] for k in drawn), sum(OVER[k] for k in drawn)
    found = torch.zeros_like(logits)
    for k in drawn:
        m = p[k] / total - (COST_WEIGHT * OVER[k] / total_over if total_over > 0 else 0)
        for choice in range(2):
            one_hot = nn.functional.one_hot(EVERY[k, choice], 3)
            found[choice] -= m * (one_hot - logits[choice].softmax(dim=0))
    return found


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("drawn", [[4], [0], [3, 3], [1, 8, 8, 5], [0, 3, 6]])
def test_equation_7_draw_by_draw(logits: torch.Tensor, drawn: list[int]) -> None:
    torch.testing.assert_close(gradient(logits, torch.tensor(drawn)), by_hand(logits, drawn), rtol=0, atol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_its_mean_at_few_draws_is_that_of_all_draws(logits: torch.Tensor, count: int) -> None:
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


def test_many_draws_give_the_gradient_of_the_loss_itself(logits: torch.Tensor) -> None:
    """Equation 6 by autograd through the sum over all nine architectures; the cost's part is that of beta log C."""
    alpha = logits.clone().requires_grad_()
    probability = FACTORS.log_probability(alpha, EVERY).exp()
    loss = -torch.log((probability * torch.exp(-LOSSES)).sum()) + COST_WEIGHT * torch.log((probability * OVER).sum())
    torch.autograd.backward(loss)
    assert alpha.grad is not None
    chances = FACTORS.log_probability(logits, EVERY).exp()
    generator = torch.Generator().manual_seed(0)
    mean = torch.stack(
        [gradient(logits, torch.multinomial(chances, 5000, replacement=True, generator=generator)) for _ in range(400)]
    ).mean(dim=0)
    assert float((mean - alpha.grad).norm() / alpha.grad.norm()) < 0.01


def test_one_draw_only_reinforces_what_was_drawn(logits: torch.Tensor) -> None:
    step = -gradient(logits, torch.tensor([0]))
    assert (step[[0, 1], EVERY[0]] > 0).all()
    assert (step.sum(dim=1).abs() < 1e-12).all()


def test_cost_does_not_count_where_every_architecture_meets_the_target() -> None:
    likelihoods = torch.tensor([0.25, 0.75])
    assert importance(likelihoods, torch.zeros(2), 0.3).tolist() == [0.25, 0.75]
    weights = importance(likelihoods, torch.tensor([0.0, 2.0]), 0.3)
    torch.testing.assert_close(weights, torch.tensor([0.25, 0.45]))


def test_the_hinge_by_hand() -> None:
    costs = {"macs": torch.tensor([50, 100, 150]), "params": torch.tensor([3, 2, 1])}
    assert over_target(costs, {"macs": 100}).tolist() == [0, 0, 0.5]
    assert over_target(costs, {"macs": 100, "params": 2}).tolist() == [0.5, 0, 0.5]
    assert over_target(costs, {}).tolist() == [0, 0, 0]


def test_equation_3_is_the_gradient_of_the_mean_likelihood() -> None:
    """Networks that share some parameters, one of them drawn twice, against autograd through the logarithm."""
    torch.manual_seed(0)
    trunk, *branches = (nn.Linear(4, 4).double() for _ in range(4))
    images, labels = torch.randn(8, 4).double(), torch.randint(4, (8,))
    often, scale = torch.tensor([1, 2, 1]), 3.0

    def losses() -> list[torch.Tensor]:
        return [nn.functional.cross_entropy(branch(trunk(images).relu()), labels) for branch in branches]

    parameters = [one for module in (trunk, *branches) for one in module.parameters()]
    total = torch.logsumexp(log_likelihoods(torch.stack(losses()), often, scale), dim=0) / scale
    expected = torch.autograd.grad(-total, parameters)
    gathered = WeighedGradients(parameters)
    seen = []
    for number in range(3):
        loss = losses()[number]
        torch.autograd.backward(loss)
        seen.append(loss.detach())
        gathered.add(float(log_likelihoods(loss.detach(), often[number], scale)))
        assert all(parameter.grad is None for parameter in parameters)
    gathered.finish(float(log_likelihoods(torch.stack(seen), often, scale).logsumexp(dim=0)))
    for parameter, gradient in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=1e-12)


def test_losses_far_apart_neither_overflow_nor_vanish() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    gathered = WeighedGradients([parameter])
    for log_weight, value in ((-5000.0, 1.0), (-10.0, 2.0), (-9000.0, 4.0)):
        parameter.grad = torch.tensor([value])
        gathered.add(log_weight)
    gathered.finish(-10.0)
    assert parameter.grad is not None
    assert float(parameter.grad) == 2.0
