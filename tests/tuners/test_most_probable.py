"""The most probable architecture within a budget, if each choice is drawn on its own."""

from itertools import product

import torch

import search_spaces
from search_spaces import Budget
from tuners.most_probable import most_probable_within


def test_the_most_probable_architecture_within_a_budget_agrees_with_the_enumeration() -> None:
    """The space has 6,561 architectures."""
    space = search_spaces.load("nas-bench-macro", width=0.125, resolution=16, num_classes=3)
    costs, budget = space.costs(), Budget.model_validate({"macs": {"target": 250e3, "tolerance": 0.03}})
    theta = torch.randn(8, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    indices = torch.tensor(list(product(range(3), repeat=8)))
    likelihood = torch.log_softmax(theta, dim=-1)[torch.arange(8), indices].sum(dim=-1)
    likelihood[torch.from_numpy(~budget.met(costs.total(indices.numpy())))] = -torch.inf
    architecture = most_probable_within(space, costs, budget, theta)
    assert architecture.indices == tuple(indices[likelihood.argmax()].tolist())
