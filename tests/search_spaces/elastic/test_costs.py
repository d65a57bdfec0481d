"""Costs with searched channels agree with torch's counter, the modules' tensors and every architecture."""

import time
from itertools import product

import numpy as np
import pytest

import search_spaces
from search_spaces import SearchSpace, UserError
from tests.support.small_spaces import small_elastic_space, torch_counts

NAMES = ["fbnetv2-f", "fbnetv2-f-fine", "fbnetv2-f++", "fp-nas-l0", "fp-nas-l1", "fp-nas-l2"]


@pytest.mark.parametrize("count", [8, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", NAMES)
def test_costs_equal_what_torch_counts(name: str, count: int) -> None:
    space = search_spaces.load(name, width=0.35, resolution=45, num_classes=7)
    generator = np.random.default_rng(0)
    architectures = [space.sample(generator) for _ in range(count)]
    cost = space.costs().cost(architectures)
    assert cost["macs"].dtype == cost["params"].dtype == np.int64
    assert [torch_counts(space, architecture) for architecture in architectures] == list(
        zip(cost["macs"].tolist(), cost["params"].tolist(), strict=True)
    )


def test_costs_at_published_width_and_another_resolution() -> None:
    space = search_spaces.load(
        "fbnetv2-f++", resolution=128, stem_stride=1, stage_strides=[1, 1, 1, 2, 1, 2, 1, 1, 2, 1]
    )
    architecture = space.sample(np.random.default_rng(1))
    cost = space.costs().cost([architecture])
    assert torch_counts(space, architecture) == (cost["macs"].item(), cost["params"].item())
    other = search_spaces.load("fbnetv2-f++", resolution=64, num_classes=100, head_channels=40)
    same = search_spaces.load("fbnetv2-f++", head_channels=40)
    assert same.costs(resolution=64, num_classes=100).cost([architecture]) == other.costs().cost([architecture])


@pytest.fixture(scope="module")
def tiny() -> SearchSpace:
    return small_elastic_space()


def test_bounds_are_the_least_and_greatest_of_all_surviving_architectures(tiny: SearchSpace) -> None:
    assert tiny.size() == 12 * 48 * 24
    pruned = tiny.restrict({"row2.kernel": ["k3", "k5"], "row3.kernel": ["k3"], "row3.channels": ["c8"]})
    for space in (tiny, pruned, tiny.restrict({"row2.channels": ["c16"], "row1.attention": ["s2"]})):
        costs = space.costs()
        every = costs.total(np.array(list(product(*space.surviving))))
        bounds = costs.bounds()
        for resource in costs.resources:
            assert bounds[resource] == (every[resource].min().item(), every[resource].max().item())


def test_extra_multiply_adds_grow_linearly_with_the_splits() -> None:
    """FP-NAS table 7: compared with squeeze-and-excitation, 2 splits add a third of what 4 splits add."""
    space = search_spaces.load("fbnetv2-f++", resolution=128)
    generator = np.random.default_rng(2)
    for _ in range(5):
        indices = list(space.sample(generator).indices)
        costs = []
        for splits in (1, 2, 3):
            indices[2::5] = [splits] * 10
            costs.append(space.costs().cost([space.architecture(indices)])["macs"].item())
        assert costs[2] - costs[0] == 3 * (costs[1] - costs[0])


@pytest.mark.parametrize("name", NAMES)
def test_costs_of_ten_thousand_architectures_take_well_under_a_second(name: str) -> None:
    space = search_spaces.load(name)
    generator = np.random.default_rng(3)
    indices = generator.integers([len(choice.options) for choice in space.choices], size=(10_000, len(space.choices)))
    start = time.perf_counter()
    costs = space.costs()
    total = costs.total(indices)
    assert time.perf_counter() - start < 1.0
    assert total["macs"].shape == (10_000,)
    assert costs.cost([])["macs"].shape == (0,)


def test_there_is_no_table_of_options() -> None:
    space = search_spaces.load("fbnetv2-f")
    with pytest.raises(UserError, match="depends on the output channels"):
        space.costs().as_table()
