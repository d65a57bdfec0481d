"""Costs with searched channels agree with torch's counter, the modules' tensors and every architecture."""

import time
from itertools import product

import numpy as np
import pytest
import torch

import search_spaces
from search_spaces import SearchSpace, UserError
from tests.support.small_spaces import one_hot, small_elastic_space, torch_counts

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


@pytest.mark.parametrize("name", NAMES)
def test_the_expected_cost_of_one_architecture_is_its_cost(name: str) -> None:
    space = search_spaces.load(name)
    generator = np.random.default_rng(4)
    architectures = [space.sample(generator) for _ in range(3)]
    weights = torch.stack([one_hot(space, architecture) for architecture in architectures]).double()
    exact = space.costs().cost(architectures)
    for resource, cost in space.costs().expected(weights).items():
        assert cost.tolist() == exact[resource].tolist()


def test_the_expected_cost_of_independent_choices_is_the_mean_over_all_architectures() -> None:
    space = small_elastic_space().restrict({"row2.kernel": ["k0", "k5"], "row3.channels": ["c8", "c24"]})
    weights = torch.rand(15, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for row, kept in zip(weights, space.surviving, strict=True):
        row /= row[list(kept)].sum()
    indices = np.array(list(product(*space.surviving)))
    shares = weights[torch.arange(15), torch.from_numpy(indices)].prod(dim=1)
    assert shares.sum().item() == pytest.approx(1)
    for resource, costs in space.costs().total(indices).items():
        expected = space.costs().expected(weights)[resource]
        assert expected.item() == pytest.approx((shares.numpy() * costs).sum().item(), rel=1e-12)


def test_the_expected_cost_of_a_convolution_is_the_product_of_effective_channels() -> None:
    """FBNetV2's effective shape: the expand convolution of row 3 maps the channels of row 2 to 3 times its own.

    The difference of differences leaves this convolution alone: 8 or 16 channels to 24 or 72, at 16 x 16 pixels.
    """
    space = small_elastic_space()

    def macs(of_16: float, of_24: float) -> float:
        weights = one_hot(space, space.architecture([1] + [0] * 9 + [1] + [0] * 4)).double()
        weights[9, :2] = torch.tensor([1 - of_16, of_16])
        weights[14, :2] = torch.tensor([1 - of_24, of_24])
        return space.costs().expected(weights)["macs"].item()

    both = macs(0.25, 0.4) - macs(0.25, 0) - macs(0, 0.4) + macs(0, 0)
    assert both == pytest.approx(256 * (0.25 * 8) * (0.4 * 48))
