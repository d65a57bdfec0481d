"""Figure 3's table and plot: costs, shares and distinct architectures, counted one by one."""

import numpy as np
import torch

import search_spaces
from benchmarks.hour_nas.proposals import Draws, draw, fit_by_expected_cost, plot
from tuners.gumbel_softmax import probabilities
from tuners.hour_nas.proposals import target_distance

SPACE = search_spaces.load("nas-bench-macro").restrict({"stage1.1": ["k5e6"]})
COSTS = SPACE.costs().as_table()
KEPT = torch.from_numpy(COSTS.kept)


def test_a_draw_has_the_cost_of_its_architecture_and_is_in_the_space() -> None:
    theta = torch.randn(2, *KEPT.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = draw(COSTS, theta, temperature=1.0, draws=5, seed=0)
    assert drawn.indices.shape == (2, 5, 8)
    for proposal in range(2):
        architectures = [SPACE.architecture(row) for row in drawn.indices[proposal].tolist()]
        cost = SPACE.costs().cost(architectures)
        assert all(drawn.cost[name][proposal].tolist() == cost[name].tolist() for name in ("macs", "params"))


def test_the_frequency_of_each_option_is_its_probability() -> None:
    theta = torch.randn(2, *KEPT.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = draw(COSTS, theta, temperature=0.5, draws=20_000, seed=0)
    shares = torch.nn.functional.one_hot(drawn.indices, 3).double().mean(dim=1)
    torch.testing.assert_close(shares, probabilities(theta, 0.5, KEPT), atol=0.015, rtol=0)


def test_a_draw_is_met_if_it_is_near_every_target() -> None:
    drawn = Draws(
        indices=torch.tensor([[[0, 1], [0, 1], [1, 1]], [[0, 0], [1, 0], [1, 1]]]),
        cost={
            "macs": torch.tensor([[103.0, 97.0, 100.0], [104.0, 96.0, 100.0]]),
            "params": torch.tensor([[10.0, 10.0, 9.0], [10.0, 10.0, 10.2]]),
        },
        entropies=torch.zeros(2),
        modes=2,
    )
    torch.testing.assert_close(drawn.met({"macs": 100.0, "params": 10.0}), torch.tensor([2 / 3, 1 / 3]).double())
    assert drawn.distinct().tolist() == [2, 3]


def test_equation_7_alone_brings_the_mean_to_the_target_but_not_the_sharpened_draws() -> None:
    targets = {"macs": 60e6}
    theta = fit_by_expected_cost(COSTS, targets, number=2, seed=0)
    mean, sharpened = (probabilities(theta, temperature, KEPT) for temperature in (1.0, 0.1))
    assert target_distance(COSTS, mean, targets).max().item() < 0.01
    assert target_distance(COSTS, sharpened, targets).min() > target_distance(COSTS, mean, targets).max()


def test_the_plot_has_a_panel_for_each_temperature_and_all_draws() -> None:
    theta = torch.zeros(2, *KEPT.shape, dtype=torch.float64)
    panels = plot(COSTS, theta, seed=0, draws=10).axes
    assert len(panels) == 4
    assert [np.shape(points.get_offsets()) for points in panels[0].collections] == [(5, 2), (5, 2)]
