"""NATS-Bench's topology space agrees with the benchmark's table."""

import csv
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import search_spaces
from search_spaces import UserError
from search_spaces.cell.space import CellSpace

ROWS = [  # cell, parameters in M and multiply-adds in M, from the table
    (
        "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|",
        0.129306,
        15.64737,
    ),
    (
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|",
        0.802426,
        113.95137,
    ),
    (
        "|avg_pool_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|avg_pool_3x3~0|avg_pool_3x3~1|avg_pool_3x3~2|",
        0.559386,
        78.56193,
    ),
    ("|avg_pool_3x3~0|+|skip_connect~0|none~1|+|none~0|none~1|skip_connect~2|", 0.073306, 7.78305),
]


@pytest.fixture(scope="module")
def space() -> CellSpace:
    loaded = search_spaces.load("nats-bench")
    assert isinstance(loaded, CellSpace)
    return loaded


def test_there_are_15625_cells(space: CellSpace) -> None:
    assert space.size() == 15_625
    assert [choice.name for choice in space.choices] == [
        "node1.0",
        "node2.0",
        "node2.1",
        "node3.0",
        "node3.1",
        "node3.2",
    ]


@pytest.mark.parametrize(("text", "params_m", "macs_m"), ROWS)
def test_costs_equal_rows_of_the_table(space: CellSpace, text: str, params_m: float, macs_m: float) -> None:
    architecture = space.parse(text)
    counted = space.costs(counting="paper").cost([architecture])
    assert (counted["params"].item() / 1e6, counted["macs"].item() / 1e6) == (params_m, macs_m)
    assert space.costs().cost([architecture])["macs"] == counted["macs"] - 10
    assert sum(parameter.numel() for parameter in space.network(architecture).parameters()) == counted["params"]


def test_costs_equal_all_rows_of_the_table(space: CellSpace, shared: Path) -> None:
    with (shared / "data/nasbench201_cifar10.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    architectures = [space.parse(row["arch"]) for row in rows]
    assert len(set(architectures)) == 15_625
    assert [str(architecture).partition(": ")[2] for architecture in architectures] == [row["arch"] for row in rows]
    counted = space.costs(counting="paper").cost(architectures)
    for resource, column in (("macs", "cifar10_flops_m"), ("params", "cifar10_params_m")):
        printed = [round(float(row[column]) * 1e6) for row in rows]
        assert counted[resource].tolist() == printed


def test_texts_parse_back_with_and_without_the_name(space: CellSpace) -> None:
    for indices in list(product(range(5), repeat=6))[::97]:
        architecture = space.architecture(indices)
        assert space.parse(str(architecture)) == architecture
        assert space.parse(str(architecture).removeprefix("nats-bench:")) == architecture
    text = "nats-bench: |nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|none~1|skip_connect~2|"
    assert str(space.parse(text)) == text
    assert space.parse(text).indices == (3, 3, 4, 1, 0, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "nats-bench: |none~0|",
            r"not an architecture of nats-bench: .* would read 'nats-bench: \|none~0\|\+\|none~0\|none~1\|",
        ),
        ("darts: |none~0|+|none~0|none~1|+|none~0|none~1|none~2|", "not an architecture of nats-bench"),
        ("|none~0|+|none~1|none~0|+|none~0|none~1|none~2|", "not an architecture of nats-bench"),
        ("|none~0|+|none~0|none~1|+|none~0|none~1|none|", "not an architecture of nats-bench"),
        ("|none~0|none~0|+|none~1|+|none~0|none~1|none~2|", "not an architecture of nats-bench"),
        ("|none~0|+|~0|none~1|+|none~0|none~1|none~2|", "not an architecture of nats-bench"),
        ("|none ~0|+|none~0|none~1|+|none~0|none~1|none~2|", "not an architecture of nats-bench"),
        ("", "not an architecture of nats-bench"),
        (
            "|none~0|+|none~0|conv~1|+|none~0|none~1|none~2|",
            r"node2\.1 of nats-bench cannot be 'conv'; it can be none, skip",
        ),
    ],
)
def test_texts_that_are_no_cell_are_refused(space: CellSpace, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        space.parse(text)


def test_a_pruned_operation_is_refused(space: CellSpace) -> None:
    pruned = space.restrict({"node1.0": ["skip_connect", "nor_conv_3x3"]})
    with pytest.raises(UserError, match=r"node1\.0 of nats-bench cannot be none; it can be skip_connect, nor_conv_3x3"):
        pruned.parse("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")


def test_a_cell_is_the_sum_of_its_edges() -> None:
    """Compute one cell in each stage, its six edges one by one, and the residual block between stages."""
    space = search_spaces.load("nats-bench", cells=1, channels=4, resolution=8)
    supernet = space.supernet().eval()
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    architecture = space.parse(
        "|skip_connect~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|none~0|nor_conv_1x1~1|skip_connect~2|"
    )
    module = dict(supernet.named_modules())
    features = module["stem.0"](images)
    for number in range(3):
        cell = f"cells.{number}"
        node0 = module[f"{cell}.inputs.0"](features)
        node1 = node0
        node2 = module[f"{cell}.edges.2-0.nor_conv_3x3"](node0) + module[f"{cell}.edges.2-1.avg_pool_3x3"](node1)
        features = module[f"{cell}.edges.3-1.nor_conv_1x1"](node1) + node2
    torch.testing.assert_close(supernet(images, architecture), module["head"](features))


@pytest.mark.parametrize("settings", [{"cells": 0}, {"channels": 1.5}, {"width": "wide"}, {"resolution": 3}])
def test_impossible_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"nats-bench: .*(cannot be|at least 4 pixels)"):
        search_spaces.load("nats-bench", **settings)


def test_specifications_rebuild_the_space(space: CellSpace) -> None:
    pruned = space.restrict({"node3.2": ["skip_connect"]})
    again = search_spaces.from_specification(pruned.specification())
    assert again.size() == 5**5
    architecture = again.sample(np.random.default_rng(0))
    only = search_spaces.from_specification(again.only(architecture).specification())
    assert only.sample(np.random.default_rng(1)) == architecture
