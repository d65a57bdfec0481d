"""The most probable architecture within a budget, against the enumeration of a space and, beyond that, step by step."""

from itertools import islice, product

import numpy as np
import pytest
import torch

import search_spaces
from search_spaces import Budget
from tuners.fp_nas.distribution import Kind, factors_of
from tuners.fp_nas.most_probable import in_order, most_probable_of_factors


def test_combinations_come_in_order_each_once() -> None:
    probabilities = torch.tensor([[0.5, 0.3, 0.2, 0], [0.1, 0.2, 0.3, 0.4], [1, 0, 0, 0]], dtype=torch.float64)
    listed = list(in_order(probabilities.log()))
    assert len(listed) == len({tuple(one) for one in listed}) == 12
    chances = [float(torch.stack([row[i] for row, i in zip(probabilities, one, strict=True)]).prod()) for one in listed]
    assert chances == sorted(chances, reverse=True)
    assert {tuple(one) for one in listed} == set(product(range(3), range(4), range(1)))


def test_ties_come_in_one_order() -> None:
    even = torch.zeros(3, 2)
    assert list(islice(in_order(even), 8)) == list(islice(in_order(even), 8))


@pytest.mark.parametrize("kind", ["joint", "factorised"])
@pytest.mark.parametrize(
    "macs", [{"max": "400k"}, {"min": "300k", "max": "310k"}, {"target": "350k", "tolerance": 0.01}]
)
def test_it_is_the_most_probable_of_all_that_meet_the_budget(kind: Kind, macs: dict[str, object]) -> None:
    space = search_spaces.load("nas-bench-macro", width=0.125, resolution=16)
    costs, budget = space.costs(), Budget.model_validate({"macs": macs})
    factors = factors_of(space, kind)
    logits = torch.randn(factors.uniform().shape, generator=torch.Generator().manual_seed(0))
    every = torch.tensor(list(product(*space.values())))
    probabilities = factors.log_probability(logits.double(), every)
    within = budget.met(costs.total(every))
    assert 0 < within.sum() < len(every)
    found, exact = most_probable_of_factors(factors, logits, costs, budget)
    assert exact
    assert found is not None
    assert found.tolist() == every[probabilities.masked_fill(~within, -torch.inf).argmax()].tolist()


def test_nothing_is_found_where_nothing_meets_the_budget() -> None:
    space = search_spaces.load("nas-bench-macro", width=0.125, resolution=16)
    factors = factors_of(space, "joint")
    budget = Budget.model_validate({"macs": {"max": 1}})
    assert most_probable_of_factors(factors, factors.uniform(), space.costs(), budget) == (None, True)


def test_far_from_the_mode_it_goes_step_by_step() -> None:
    space = search_spaces.load("fbnetv2-f")
    costs, budget = space.costs(), Budget.model_validate({"macs": {"target": "60M", "tolerance": 0.02}})
    factors = factors_of(space, "joint")
    logits = torch.randn(factors.uniform().shape, generator=torch.Generator().manual_seed(0)) * 3
    assert not budget.met(costs.total(factors.mode(logits)[None]))
    found, exact = most_probable_of_factors(factors, logits, costs, budget, listed=0)
    assert not exact
    assert found is not None
    assert budget.met(costs.total(found[None]))
    drawn = factors.sample(logits, 20_000, np.random.default_rng(0))
    drawn = drawn[budget.met(costs.total(drawn))]
    assert len(drawn) > 100
    assert factors.log_probability(logits, found[None]) >= factors.log_probability(logits, drawn).max()
