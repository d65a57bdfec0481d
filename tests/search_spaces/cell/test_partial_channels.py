"""Partial channels: the channels that pass by, the channels that do not, and the network with all its channels."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

import search_spaces
from search_spaces import SearchSpace, UserError, from_specification
from search_spaces.cell.partial_channels import join_channels, split_channels
from search_spaces.cell.supernet import Cell, CellSupernet

SEARCH: dict[str, Any] = {"cells": 8, "channels": 16, "subset": False, "cell_types": "two"}
SMALL: dict[str, Any] = {"cells": 3, "channels": 8, "subset": False, "cell_types": "two", "resolution": 8}


def macs(run: Callable[[], Tensor]) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops()) // 2


@pytest.mark.parametrize(
    ("operations", "partial", "expected"),
    [(8, 1, 300.3), (8, 4, 56.6), (["skip_connect"], 1, 24.7), (["skip_connect"], 4, 20.7)],
)
def test_a_forward_pass_of_the_supernet_has_the_expected_cost(operations: Any, partial: int, expected: float) -> None:
    space = search_spaces.load("darts", operations=operations, partial=partial, **SEARCH)
    supernet = space.supernet().eval()
    weights = torch.ones(28, len(space.choices[0].options), requires_grad=True)
    counted = macs(lambda: supernet.mixed(torch.randn(1, 3, 32, 32), weights))
    assert round(counted / 1e6, 1) == expected


@pytest.mark.parametrize("stride", [1, 2])
def test_channels_are_parted_joined_and_shuffled(stride: int) -> None:
    features = torch.randn(2, 8, 5, 5)
    active, passed = split_channels(features, 4)
    assert passed is not None
    assert torch.equal(torch.cat([active, passed], dim=1), features)
    assert active.shape[1] == 2
    strided = functional.avg_pool2d(active, 3, stride, padding=1)
    beside = passed if stride == 1 else functional.max_pool2d(functional.pad(passed, (0, 1, 0, 1), value=-9), 2)
    expected = functional.channel_shuffle(torch.cat([strided, beside], dim=1), 4)
    torch.testing.assert_close(join_channels(strided, passed, 4), expected)


def test_in_a_mixture_channels_that_pass_by_have_the_edges_weight() -> None:
    space = search_spaces.load("darts", operations=["none", "skip_connect", "max_pool_3x3"], partial=4, **SMALL)
    supernet = space.supernet().eval()
    assert isinstance(supernet, CellSupernet)
    seen: list[Tensor] = []
    cell = supernet.cells[0]
    assert isinstance(cell, Cell)
    after = supernet.cells[1]
    assert isinstance(after, Cell)
    after.inputs[-1].register_forward_pre_hook(lambda module, inputs: seen.extend(inputs))
    images = torch.randn(2, 3, 8, 8)
    weights = torch.zeros(28, 3)
    weights[0] = torch.tensor([0.1, 0.3, 0.2])  # the edge of node 2 from node 0: none, skip, pool
    supernet.mixed(images, weights)

    stem = supernet.stem[0](images)
    node = cell.inputs[0](stem)
    pooled = functional.max_pool2d(node[:, :2], 3, 1, 1) / (1 + 1e-5) ** 0.5  # initial batch norm
    active = 0.3 * node[:, :2] + 0.2 * pooled
    expected = functional.channel_shuffle(torch.cat([active, 0.6 * node[:, 2:]], dim=1), 4)
    torch.testing.assert_close(seen[0][:, :8], expected)


def test_a_path_is_the_mixture_with_weight_only_on_it() -> None:
    torch.manual_seed(0)
    space = search_spaces.load("darts", operations=["none", "skip_connect", "sep_conv_3x3"], partial=2, **SMALL)
    supernet = space.supernet().eval()
    architecture = space.architecture([edge % 3 for edge in range(28)])
    images = torch.randn(2, 3, 8, 8)
    weights = torch.eye(3)[list(architecture.indices)] * (torch.tensor(architecture.indices) > 0)[:, None]
    torch.testing.assert_close(supernet(images, architecture), supernet.mixed(images, weights))


@pytest.fixture
def partial() -> SearchSpace:
    return search_spaces.load("darts", operations=8, partial=4, **SMALL)


def test_a_network_and_its_costs_have_all_channels(partial: SearchSpace) -> None:
    whole = search_spaces.load("darts", operations=8, **SMALL)
    architecture = partial.architecture([edge % 8 for edge in range(28)])
    assert partial.costs().cost([architecture]) == whole.costs().cost([architecture])
    network = partial.network(architecture)
    assert sum(parameter.numel() for parameter in network.parameters()) == (
        partial.costs().cost([architecture])["params"].item()
    )
    alone = from_specification(partial.only(architecture).specification())
    shapes = {name: tensor.shape for name, tensor in alone.supernet().state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in network.state_dict().items()}


def test_impossible_values_of_partial_are_refused(partial: SearchSpace) -> None:
    with pytest.raises(UserError, match=r"darts: 6 channels have no part of one in 4: use a multiple of 4 channels"):
        search_spaces.load("darts", channels=6, partial=4)
    with pytest.raises(UserError, match="so that no network can inherit them; use partial: 1"):
        partial.network_state(partial.architecture([0] * 28), {})
