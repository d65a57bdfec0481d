"""Distributions over architectures against the enumeration of all architectures."""

from itertools import product
from math import log

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

import search_spaces
from search_spaces.errors import UserError
from tuners.fp_nas.distribution import Factors, join_logits, partition

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


def random_logits(factors: Factors) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(factors.uniform().shape, generator=generator, dtype=torch.float64)


def test_probabilities_entropy_and_mode_agree_with_the_enumeration(factors: Factors) -> None:
    logits = random_logits(factors)
    log_probability = factors.log_probability(logits, EVERY)
    probability = log_probability.exp()
    assert float(probability.sum()) == pytest.approx(1, abs=1e-12)
    assert float(factors.entropy(logits)) == pytest.approx(float(-(probability * log_probability).sum()), abs=1e-12)
    assert factors.mode(logits).tolist() == EVERY[probability.argmax()].tolist()


def test_a_factor_of_one_choice_is_its_softmax() -> None:
    factors = Factors(VALUES, PARTITIONS["factorised"])
    logits = random_logits(factors)
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
def test_joining_factors_changes_no_probability(coarse: str) -> None:
    fine, joint = Factors(VALUES, PARTITIONS["factorised"]), Factors(VALUES, PARTITIONS[coarse])
    logits = random_logits(fine)
    joined = joint.log_probability(join_logits(logits, fine, joint), EVERY)
    torch.testing.assert_close(joined, fine.log_probability(logits, EVERY), rtol=0, atol=1e-12)


def test_samples_follow_their_probabilities(factors: Factors) -> None:
    logits = random_logits(factors)
    drawn = factors.sample(logits, 20_000, np.random.default_rng(0))
    counted = [int((drawn == architecture).all(dim=1).sum()) for architecture in EVERY]
    expected = 20_000 * factors.log_probability(logits, EVERY).exp()
    assert sum(counted) == 20_000
    assert chisquare(counted, expected.numpy()).pvalue > 1e-3
    assert torch.equal(drawn, factors.sample(logits, 20_000, np.random.default_rng(0)))


def test_combinations_beyond_a_factor_are_never_drawn() -> None:
    factors = Factors(VALUES, PARTITIONS["factorised"])
    logits = torch.full_like(factors.uniform(), -40.0)
    logits[:, 1] = 40.0
    drawn = factors.sample(logits, 1000, np.random.default_rng(0))
    assert torch.unique(drawn, dim=0).tolist() == [[2, 3, 1, 6]]


def test_the_numbers_of_parameters_are_the_papers() -> None:
    space = search_spaces.load("fbnetv2-f")
    joint, factorised = partition(space, "joint"), partition(space, "factorised")
    assert (sum(joint.sizes), sum(factorised.sizes)) == (3624, 177)
    assert (joint.sizes[-1], sum(factorised.sizes[-5:])) == (720, 23)
    for factors in (joint, factorised):
        assert float(factors.entropy(factors.uniform())) == pytest.approx(56.25, abs=0.005)


def test_a_pruned_space_keeps_its_option_indices() -> None:
    space = search_spaces.load("nas-bench-macro")
    first = space.choices[0]
    pruned = space.restrict({first.name: first.options[1:]})
    drawn = partition(pruned, "joint").sample(partition(pruned, "joint").uniform(), 100, np.random.default_rng(0))
    assert set(drawn[:, 0].tolist()) == {1, 2}
    assert partition(pruned, "joint").sizes == (2 * 3, 27, 27)


def test_a_joint_distribution_with_too_many_parameters_is_refused() -> None:
    with pytest.raises(UserError, match="node3 of darts has too many parameters: use a factorised one"):
        partition(search_spaces.load("darts"), "joint")
