"""Space proposals: HourNAS equations 4 to 9 against NumPy and values by hand, and the quality of fitted proposals."""

import numpy as np
import pytest
import torch
from torch import Tensor

import search_spaces
from search_spaces.costs import TableCosts
from tuners.gumbel_softmax import probabilities
from tuners.hour_nas.proposals import (
    cost_deviation,
    drawn_distance,
    entropy,
    fit,
    mix,
    overlap,
    target_distance,
)
from tuners.hour_nas.sampled_path import sample_relaxed
from tuners.hour_nas.settings import ProposalFit, Sampling

BY_HAND = TableCosts(
    "by-hand",
    ((0, 1), (0, 2)),
    {
        "macs": np.array([[10.0, 30.0, 0.0], [5.0, 999.0, 25.0]]),
        "params": np.array([[1.0, 2.0, 0.0], [3.0, 999.0, 7.0]]),
    },
    {"macs": 100.0, "params": 50.0},
)
"""Two choices of two surviving options. The greatest costs are 155 multiply-adds and 59 parameters."""
KEPT = torch.from_numpy(BY_HAND.kept)

HALVES = torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.0, 0.5]], dtype=torch.float64)


def costs_of_draws(costs: TableCosts, distribution: Tensor, number: int) -> dict[str, Tensor]:
    """Return the costs of `number` architectures that are drawn choice by choice."""
    generator = torch.Generator().manual_seed(1)
    drawn = torch.multinomial(distribution, number, replacement=True, generator=generator).T
    return {resource: torch.from_numpy(cost) for resource, cost in costs.total(drawn.numpy()).items()}


def test_pruned_options_have_no_probability_and_the_others_are_the_softmax() -> None:
    theta = torch.tensor([[1.0, 2.0, 9.0], [0.0, 9.0, 3.0]], dtype=torch.float64)
    distribution = probabilities(theta, 2.0, KEPT)
    first, second = np.exp([0.5, 1.0]), np.exp([0.0, 1.5])
    expected = [[*(first / first.sum()), 0.0], [second[0] / second.sum(), 0.0, second[1] / second.sum()]]
    np.testing.assert_allclose(distribution.numpy(), expected)


def test_equation_5_by_hand() -> None:
    """The mean cost is 100 + 20 + 15 = 135; its distance from the target 120 is 15; the greatest cost is 155."""
    assert target_distance(BY_HAND, HALVES, {"macs": 120.0}).item() == pytest.approx(15 / 155)


def test_equation_6_by_hand_for_several_proposals_at_once() -> None:
    dearest = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    distances = target_distance(BY_HAND, torch.stack([HALVES, dearest]), {"macs": 120.0, "params": 58.0})
    assert distances.tolist() == pytest.approx([15 / 155 + 1.5 / 59, 35 / 155 + 1 / 59])


def test_the_distance_of_one_hot_rows_is_the_distance_of_the_architecture() -> None:
    space = search_spaces.load("nas-bench-macro", width=0.125, resolution=16, num_classes=3)
    costs = space.costs().as_table()
    architecture = space.sample(np.random.default_rng(0))
    rows = torch.zeros(8, 3, dtype=torch.float64)
    rows[range(8), architecture.indices] = 1
    expected = abs(costs.cost([architecture])["macs"].item() - 250e3) / costs.bounds()["macs"][1]
    assert target_distance(costs, rows, {"macs": 250e3}).item() == pytest.approx(expected)


def test_overlap_of_equation_7_agrees_with_numpy() -> None:
    space = search_spaces.load("nas-bench-macro").restrict({"stage1.2": ["skip", "k5e6"]})
    kept = torch.from_numpy(space.costs().as_table().kept)
    generator = np.random.default_rng(0)
    theta = generator.normal(size=(3, 8, 3))
    rows = []
    for proposal in theta:
        parts = [row[mask] - row[mask].mean() for row, mask in zip(proposal, kept.numpy(), strict=True)]
        flat = np.concatenate(parts)
        rows.append(flat / np.linalg.norm(flat))
    gram = np.array(rows) @ np.array(rows).T
    expected = np.abs(gram - np.eye(3)).sum()
    assert overlap(torch.from_numpy(theta), kept).item() == pytest.approx(expected)


def test_a_constant_added_to_a_choice_does_not_change_the_overlap() -> None:
    kept = KEPT
    theta = torch.tensor([[[1.0, -1.0, 0.0], [0.5, 0.0, -0.5]], [[-1.0, 1.0, 0.0], [1.0, 0.0, -1.0]]])
    shifted = theta + torch.tensor([[[7.0], [-3.0]], [[2.0], [5.0]]])
    assert overlap(shifted, kept).item() == pytest.approx(overlap(theta, kept).item(), abs=1e-5)


def test_equations_8_and_9_by_hand() -> None:
    weights = torch.tensor([0.25, 0.75])
    distributions = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [1.0, 0.0]]])
    assert mix(weights, distributions).tolist() == [[0.625, 0.375], [0.75, 0.25]]


def test_entropy_of_halves_is_two_bits() -> None:
    assert entropy(HALVES).item() == pytest.approx(2 * np.log(2))


def test_deviation_and_distance_agree_with_many_drawn_architectures() -> None:
    costs = search_spaces.load("proxylessnas").costs().as_table()
    kept = torch.from_numpy(costs.kept)
    theta = torch.randn(*kept.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    distribution = probabilities(theta, 1.0, kept)
    macs = costs_of_draws(costs, distribution, 20_000)["macs"].double()
    assert cost_deviation(costs, distribution)["macs"].item() == pytest.approx(macs.std().item(), rel=0.03)
    for target in (350e6, 420e6):
        expected = (macs - target).abs().mean().item() / costs.bounds()["macs"][1]
        assert drawn_distance(costs, distribution, {"macs": target}).item() == pytest.approx(expected, rel=0.03)


def test_gumbel_max_draws_options_by_their_probabilities() -> None:
    theta = torch.tensor([[0.0, 1.0, 2.0]]).expand(20_000, 3)
    kept = torch.ones(20_000, 3, dtype=torch.bool)
    rows = sample_relaxed(theta, 2.0, kept, "gumbel-max", np.random.default_rng(0))
    assert ((rows - rows.round()).abs() < 1e-6).all()
    expected = torch.softmax(torch.tensor([0.0, 0.5, 1.0]), dim=0)
    torch.testing.assert_close(rows.mean(dim=0), expected, atol=0.01, rtol=0)


@pytest.mark.parametrize(("temperature", "greatest"), [(5.0, 0.17), (1.0, 0.48), (0.1, 0.94)])
def test_the_temperature_anneals_the_mixtures_of_gumbel_softmax(temperature: float, greatest: float) -> None:
    """Nine options, as in FBNet's space, with theta at 0: NumPy's softmax((theta + g) / temperature)."""
    noise = np.random.default_rng(1).gumbel(size=(10_000, 9))
    exponentials = np.exp((noise - noise.max(axis=1, keepdims=True)) / temperature)
    expected = (exponentials.max(axis=1) / exponentials.sum(axis=1)).mean()
    assert expected == pytest.approx(greatest, abs=0.005)
    kept = torch.ones(10_000, 9, dtype=torch.bool)
    rows = sample_relaxed(torch.zeros(10_000, 9), temperature, kept, "gumbel-softmax", np.random.default_rng(0))
    assert rows.amax(dim=1).mean().item() == pytest.approx(expected, abs=0.01)


def test_gumbel_softmax_divides_theta_and_noise_by_the_temperature() -> None:
    theta = np.array([[1.0, -0.5, 2.0], [0.3, 0.0, -1.0]])
    logits = (theta + np.random.default_rng(4).gumbel(size=(2, 3))) / 0.7
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    kept = torch.ones(2, 3, dtype=torch.bool)
    rows = sample_relaxed(torch.from_numpy(theta), 0.7, kept, "gumbel-softmax", np.random.default_rng(4))
    np.testing.assert_allclose(rows.numpy(), expected)


@pytest.mark.parametrize("sampling", ["gumbel-max", "gumbel-softmax", "softmax"])
def test_sampling_has_a_gradient_and_never_takes_a_pruned_option(sampling: Sampling) -> None:
    theta = torch.zeros(2, 3, requires_grad=True)
    rows = sample_relaxed(theta, 1.0, KEPT, sampling, np.random.default_rng(0))
    torch.testing.assert_close(rows.sum(dim=-1), torch.ones(2))
    assert rows[0, 2] == rows[1, 1] == 0
    torch.autograd.backward(rows[0, 0] + 2 * rows[1, 2])
    assert theta.grad is not None
    assert (theta.grad[0, :2] != 0).all()


def test_fitted_proposals_meet_two_targets_keep_entropy_and_differ() -> None:
    """They meet the targets at temperature 0.1; at 5 few draws do (HourNAS figure 3)."""
    costs = search_spaces.load("proxylessnas").costs().as_table()
    targets = {"macs": 400e6, "params": 4.0e6}
    theta = fit(costs, targets, 4, seed=0)
    kept = torch.from_numpy(costs.kept)
    shares = {}
    for temperature in (5.0, 0.1):
        distribution = probabilities(theta, temperature, kept)
        drawn_costs = [costs_of_draws(costs, proposal, 2000) for proposal in distribution]
        met = [
            torch.stack([(cost[name] - target).abs() <= 0.03 * target for name, target in targets.items()]).all(dim=0)
            for cost in drawn_costs
        ]
        shares[temperature] = min(float(is_met.float().mean()) for is_met in met)
    assert shares[0.1] > 0.9
    assert shares[5.0] < 0.3
    sharpened = probabilities(theta, 0.1, kept)
    assert entropy(sharpened).min().item() > 6
    assert len({tuple(mode) for mode in sharpened.argmax(dim=-1).tolist()}) == 4
    torch.testing.assert_close(fit(costs, targets, 4, seed=0), theta, atol=0, rtol=0)


def test_the_iterations_of_the_fit_decide_how_near_to_the_target_a_proposal_ends() -> None:
    costs = search_spaces.load("nas-bench-macro").costs().as_table()
    kept = torch.from_numpy(costs.kept)
    distances = []
    for settings in (ProposalFit(iterations=5), ProposalFit(iterations=100)):
        theta = fit(costs, {"macs": 55e6}, 1, seed=0, settings=settings)
        sharpest = probabilities(theta, settings.last_temperature, kept)
        distances.append(drawn_distance(costs, sharpest, {"macs": 55e6}).item())
    assert distances[0] > 1.5 * distances[1]


def test_the_temperature_of_fitting_falls_and_then_stays() -> None:
    settings = ProposalFit(iterations=100, first_temperature=4.0, last_temperature=1.0, cooling_share=0.5)
    temperatures = [settings.temperature(iteration) for iteration in (0, 25, 50, 99)]
    assert temperatures == pytest.approx([4.0, 2.0, 1.0, 1.0])
