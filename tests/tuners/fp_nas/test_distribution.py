"""Distributions over architectures against the enumeration of all of them."""

from itertools import product
from math import log

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

import search_spaces
from search_spaces.errors import UserError
from tuners.fp_nas.distribution import Factors, factors_of, joined

VALUES = [(0, 2), (1, 3, 4), (0, 1), (5, 6, 7)]
EVERY = torch.tensor(list(product(*VALUES)))
PARTITIONS: dict[str, list[tuple[int, ...]]] = {
    "factorised": [(0,), (1,), (2,), (3,)],
    "joint": [(0, 1), (2, 3)],
    "unequal": [(0, 1, 2), (3,)],
}


@pytest.fixture(params=PARTITIONS)
def factors(request: pytest.FixtureRequest) -> Factors:
    return Factors(VALUES, PARTITIONS[request.param])


def some_logits(factors: Factors) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(factors.uniform().shape, generator=generator, dtype=torch.float64)


def test_probabilities_entropy_and_mode_are_those_of_the_enumeration(factors: Factors) -> None:
    logits = some_logits(factors)
    log_probability = factors.log_probability(logits, EVERY)
    probability = log_probability.exp()
    assert float(probability.sum()) == pytest.approx(1, abs=1e-12)
    assert float(factors.entropy(logits)) == pytest.approx(float(-(probability * log_probability).sum()), abs=1e-12)
    assert factors.mode(logits).tolist() == EVERY[probability.argmax()].tolist()


def test_a_factor_of_one_choice_is_its_softmax() -> None:
    factors = Factors(VALUES, PARTITIONS["factorised"])
    logits = some_logits(factors)
    by_hand = sum(
        log(float(torch.softmax(logits[choice, : len(values)], 0)[values.index(taken)]))
        for choice, (values, taken) in enumerate(zip(VALUES, (2, 4, 0, 6), strict=True))
    )
    assert float(factors.log_probability(logits, torch.tensor([[2, 4, 0, 6]]))) == pytest.approx(by_hand, abs=1e-12)


def test_combinations_are_numbered_one_to_one(factors: Factors) -> None:
    numbers = factors.combinations(EVERY)
    assert torch.equal(factors.indices(numbers), EVERY)
    assert len(torch.unique(numbers, dim=0)) == len(EVERY)


@pytest.mark.parametrize("coarse", ["joint", "unequal"])
def test_no_probability_changes_when_factors_are_joined(coarse: str) -> None:
    fine, joint = Factors(VALUES, PARTITIONS["factorised"]), Factors(VALUES, PARTITIONS[coarse])
    logits = some_logits(fine)
    there = joint.log_probability(joined(logits, fine, joint), EVERY)
    torch.testing.assert_close(there, fine.log_probability(logits, EVERY), rtol=0, atol=1e-12)


def test_draws_come_as_often_as_their_probability_says(factors: Factors) -> None:
    logits = some_logits(factors)
    drawn = factors.sample(logits, 20_000, np.random.default_rng(0))
    counted = [int((drawn == one).all(dim=1).sum()) for one in EVERY]
    expected = 20_000 * factors.log_probability(logits, EVERY).exp()
    assert sum(counted) == 20_000
    assert chisquare(counted, expected.numpy()).pvalue > 1e-3
    assert torch.equal(drawn, factors.sample(logits, 20_000, np.random.default_rng(0)))


def test_what_cannot_be_is_never_drawn() -> None:
    factors = Factors(VALUES, PARTITIONS["factorised"])
    logits = torch.full_like(factors.uniform(), -40.0)
    logits[:, 1] = 40.0
    drawn = factors.sample(logits, 1000, np.random.default_rng(0))
    assert torch.unique(drawn, dim=0).tolist() == [[2, 3, 1, 6]]


def test_parameters_as_the_paper_counts_them() -> None:
    space = search_spaces.load("fbnetv2-f")
    joint, factorised = factors_of(space, "joint"), factors_of(space, "factorised")
    assert (sum(joint.sizes), sum(factorised.sizes)) == (3624, 177)
    assert (joint.sizes[-1], sum(factorised.sizes[-5:])) == (720, 23)
    for factors in (joint, factorised):
        assert float(factors.entropy(factors.uniform())) == pytest.approx(56.25, abs=0.005)


def test_a_space_that_was_pruned_keeps_its_indices() -> None:
    space = search_spaces.load("nas-bench-macro")
    first = space.choices[0]
    pruned = space.restrict({first.name: first.options[1:]})
    drawn = factors_of(pruned, "joint").sample(factors_of(pruned, "joint").uniform(), 100, np.random.default_rng(0))
    assert set(drawn[:, 0].tolist()) == {1, 2}
    assert [len(part) for part in ([0, 1], [2, 3, 4], [5, 6, 7])] == [2, 3, 3]
    assert factors_of(pruned, "joint").sizes == (2 * 3, 27, 27)


def test_a_joint_distribution_that_no_table_holds() -> None:
    with pytest.raises(UserError, match="node3 of darts has too many parameters: use a factorised one"):
        factors_of(search_spaces.load("darts"), "joint")
