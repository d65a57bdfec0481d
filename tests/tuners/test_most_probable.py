"""The most probable architecture within a budget: against the enumeration of a space, and by the stepwise search."""

from itertools import islice, product

import numpy as np
import pytest
import torch

import search_spaces
from search_spaces import Budget
from tuners.fp_nas.distribution import Kind, partition
from tuners.most_probable import find_most_probable, iterate_by_probability, most_probable_within


def test_combinations_come_once_each_by_falling_probability() -> None:
    probabilities = torch.tensor([[0.5, 0.3, 0.2, 0], [0.1, 0.2, 0.3, 0.4], [1, 0, 0, 0]], dtype=torch.float64)
    listed = list(iterate_by_probability(probabilities.log()))
    assert len(listed) == len({tuple(combination) for combination in listed}) == 12
    chances = [
        float(torch.stack([row[option] for row, option in zip(probabilities, combination, strict=True)]).prod())
        for combination in listed
    ]
    assert chances == sorted(chances, reverse=True)
    assert {tuple(combination) for combination in listed} == set(product(range(3), range(4), range(1)))


def test_equal_probabilities_always_come_in_one_order() -> None:
    even = torch.zeros(3, 2)
    assert list(islice(iterate_by_probability(even), 8)) == list(islice(iterate_by_probability(even), 8))


@pytest.mark.parametrize("kind", ["joint", "factorised"])
@pytest.mark.parametrize(
    "macs", [{"max": "400k"}, {"min": "300k", "max": "310k"}, {"target": "350k", "tolerance": 0.01}]
)
def test_the_result_is_the_most_probable_of_all_feasible_architectures(kind: Kind, macs: dict[str, object]) -> None:
    space = search_spaces.load("nas-bench-macro", width=0.125, resolution=16)
    costs, budget = space.costs(), Budget.model_validate({"macs": macs})
    factors = partition(space, kind)
    logits = torch.randn(factors.uniform().shape, generator=torch.Generator().manual_seed(0))
    architectures = torch.tensor(list(product(*space.values())))
    probabilities = factors.log_probability(logits.double(), architectures)
    is_feasible = torch.from_numpy(budget.met(costs.total(architectures.numpy())))
    assert 0 < is_feasible.sum() < len(architectures)
    indices, is_exact = find_most_probable(factors.log_probabilities(logits.double()), factors.indices, costs, budget)
    assert is_exact
    assert indices is not None
    assert indices.tolist() == architectures[probabilities.masked_fill(~is_feasible, -torch.inf).argmax()].tolist()


def test_the_result_is_none_if_no_architecture_meets_the_budget() -> None:
    space = search_spaces.load("nas-bench-macro", width=0.125, resolution=16)
    factors = partition(space, "joint")
    budget = Budget.model_validate({"macs": {"max": 1}})
    uniform = factors.log_probabilities(factors.uniform().double())
    assert find_most_probable(uniform, factors.indices, space.costs(), budget) == (None, True)


def test_the_stepwise_search_beats_20000_draws_far_from_the_mode() -> None:
    space = search_spaces.load("fbnetv2-f")
    costs, budget = space.costs(), Budget.model_validate({"macs": {"target": "60M", "tolerance": 0.02}})
    factors = partition(space, "joint")
    logits = torch.randn(factors.uniform().shape, generator=torch.Generator().manual_seed(0)) * 3
    assert not budget.met(costs.total(factors.mode(logits)[None].numpy()))
    indices, is_exact = find_most_probable(
        factors.log_probabilities(logits.double()), factors.indices, costs, budget, max_listed=0
    )
    assert not is_exact
    assert indices is not None
    assert budget.met(costs.total(indices[None].numpy()))
    drawn = factors.sample(logits, 20_000, np.random.default_rng(0))
    drawn = drawn[budget.met(costs.total(drawn.numpy()))]
    assert len(drawn) > 100
    assert factors.log_probability(logits, indices[None]) >= factors.log_probability(logits, drawn).max()


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
