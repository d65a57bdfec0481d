"""Costs agree with independent counts: torch's counter, the modules' tensors, and sums over all architectures."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

import search_spaces
from tests.support.small_spaces import torch_counts

SETTINGS: list[dict[str, Any]] = [
    {},
    {"width": 0.35, "resolution": 96, "num_classes": 7},
    {"width": 1.4, "resolution": 33, "stem_stride": 1},
]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("name", ["nas-bench-macro", "proxylessnas", "proxylessnas-large"])
def test_costs_equal_what_torch_counts(name: str, settings: dict[str, Any]) -> None:
    space = search_spaces.load(name, **settings)
    generator = np.random.default_rng(0)
    architectures = [space.sample(generator) for _ in range(3)]
    cost = space.costs().cost(architectures)
    assert cost["macs"].dtype == cost["params"].dtype == np.int64
    for architecture, macs, params in zip(architectures, cost["macs"], cost["params"], strict=True):
        assert torch_counts(space, architecture) == (int(macs), int(params))


def test_costs_at_another_resolution_and_number_of_classes() -> None:
    space = search_spaces.load("nas-bench-macro")
    architectures = [space.sample(np.random.default_rng(1))]
    other = search_spaces.load("nas-bench-macro", resolution=64, num_classes=100)
    assert space.costs(resolution=64, num_classes=100).cost(architectures) == other.costs().cost(architectures)


def test_bounds_are_the_least_and_greatest_of_all_surviving_architectures() -> None:
    space = search_spaces.load("nas-bench-macro").restrict({"stage1.1": ["k3e3"], "stage2.2": ["skip", "k5e6"]})
    costs = space.costs()
    every = costs.cost([space.architecture(indices) for indices in product(*space.surviving)])
    bounds = costs.bounds()
    for resource in costs.resources:
        assert bounds[resource] == (every[resource].min().item(), every[resource].max().item())


def test_expected_cost_of_uniform_draws_is_the_mean_over_all_architectures() -> None:
    space = search_spaces.load("nas-bench-macro").restrict({"stage1.1": ["k3e3"], "stage2.2": ["skip", "k5e6"]})
    costs = space.costs().as_table()
    every = costs.cost([space.architecture(indices) for indices in product(*space.surviving)])
    probabilities = torch.zeros(8, 3, dtype=torch.float64)
    for row, options in zip(probabilities, space.surviving, strict=True):
        row[list(options)] = 1 / len(options)
    expected = costs.expected(probabilities)
    for resource in costs.resources:
        assert expected[resource].item() == pytest.approx(every[resource].mean().item())


def test_expected_cost_of_one_hot_probabilities_is_exact_and_differentiates_to_the_table() -> None:
    space = search_spaces.load("proxylessnas")
    costs = space.costs().as_table()
    architecture = space.sample(np.random.default_rng(2))
    one_hot = torch.zeros(22, 7, dtype=torch.float64)
    one_hot[range(22), architecture.indices] = 1
    one_hot.requires_grad_()
    expected = costs.expected(one_hot)
    assert expected["macs"].item() == costs.cost([architecture])["macs"].item()
    torch.autograd.backward(expected["macs"])
    assert one_hot.grad is not None
    np.testing.assert_array_equal(one_hot.grad.numpy(), costs.table["macs"])


def test_no_architectures_cost_an_empty_array() -> None:
    cost = search_spaces.load("proxylessnas").costs().cost([])
    assert cost["macs"].shape == (0,)
