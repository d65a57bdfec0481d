"""Latency of cells: sums over the modules of a built network, found by hooks, and missing rows."""

import random
import re
import time
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from search_spaces import Architecture, Budget, LatencyTable, UserError
from search_spaces.cell.space import CellSpace
from search_spaces.latency_table import LatencyKey
from tests.support.small_spaces import cells

TINY = {"channels": 4, "resolution": 8, "num_classes": 5}
ONE = {**TINY, "operations": 8, "subset": False, "cell_types": "two"}
SPACES: list[tuple[str, dict[str, Any]]] = [
    ("darts", TINY),
    ("darts", {**ONE, "cells": 4, "resolution": 11}),
    ("darts-imagenet", {**TINY, "resolution": 67, "cells": 3}),
    ("darts-imagenet", {**ONE, "cells": 5, "stem_stride": 1}),
    ("nats-bench", {**TINY, "cells": 2}),
    ("nats-bench", {**TINY, "cells": 1, "affine": False, "resolution": 9}),
]
OPS = {
    "sep_conv_3x3": ("sep-conv-2x", 3),
    "sep_conv_5x5": ("sep-conv-2x", 5),
    "dil_conv_3x3": ("sep-conv-1x-dilation-2", 3),
    "dil_conv_5x5": ("sep-conv-1x-dilation-2", 5),
    "nor_conv_1x1": ("relu-conv", 1),
    "nor_conv_3x3": ("relu-conv", 3),
}
INPUTS = {"FactorizedReduce": ("factorized-reduce", 1), "ResidualReduction": ("residual-reduction", 3)}


@pytest.fixture(params=SPACES, ids=lambda parameter: parameter[0])
def space(request: pytest.FixtureRequest) -> CellSpace:
    return cells(*request.param)


def named(space: CellSpace, path: str, module: nn.Module) -> tuple[str, int]:
    """Return the table's name for the module at this path, and its kernel."""
    *_, last = path.split(".")
    nats = space.name == "nats-bench"
    if path == "head":
        return ("norm-" if nats else "") + "pool-classifier", 1
    if path.startswith("stem"):
        return ("conv" if path == "stem.0" else "relu-conv"), 3
    if ".inputs." in path or last == "skip_connect":
        return INPUTS.get(type(module).__name__, ("relu-conv", 1))
    if "_pool_" in last:
        return f"{last[:3]}-pool" + ("" if nats else "-norm"), 3
    return OPS[last]


def run(space: CellSpace, architecture: Architecture) -> list[LatencyKey]:
    """Return a key for every part that the network runs, from its input and output features."""
    network = space.network(architecture).eval()
    keys = []

    def hook(path: str) -> Any:
        def record(module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
            if isinstance(module, nn.Identity):
                return
            op, kernel = named(space, path, module)
            (_, channels, size, _), gives = inputs[0].shape, output.shape[1]
            stride = 1 if path == "head" else round(size / output.shape[2])
            keys.append(LatencyKey(op, size, channels, gives, kernel, 0, stride))

        return record

    for path, module in network.named_modules():
        if re.fullmatch(r"head|stem\.\d|cells\.\d\.(inputs\.\d|edges\.[^.]+\.[^.]+)", path):
            module.register_forward_hook(hook(path))
    with torch.inference_mode():
        network(torch.zeros(2, 3, space.resolution, space.resolution))
    return keys


def arbitrary(space: CellSpace) -> LatencyTable:
    generator = random.Random(0)
    return LatencyTable({key: generator.random() for key in space.latency_blocks()}, "The table")


def test_latency_is_the_sum_over_the_networks_parts(space: CellSpace) -> None:
    table = arbitrary(space)
    generator = np.random.default_rng(0)
    architectures = [space.sample(generator) for _ in range(12)]
    summed = space.costs(latency=table).cost(architectures)["latency_ms"]
    by_hand = [sum(table.entries_ms[key] for key in run(space, architecture)) for architecture in architectures]
    assert summed.tolist() == pytest.approx(by_hand, rel=1e-12)
    assert summed.dtype == np.float64


def test_a_missing_row_is_named_unless_its_option_is_pruned(space: CellSpace) -> None:
    table = arbitrary(space)
    kept = {choice.name: [option for option in choice.options if "conv" in option] for choice in space.choices}
    pruned = space.restrict(kept)
    needed = pruned.latency_blocks().keys()
    assert needed < table.entries_ms.keys()
    for key in table.entries_ms:
        rest = LatencyTable({other: ms for other, ms in table.entries_ms.items() if other != key}, "The rest")
        with pytest.raises(UserError, match="The rest has no latency for") as refused:
            space.costs(latency=rest)
        assert str(key) in str(refused.value)
        if key not in needed:
            costs = pruned.costs(latency=rest)
            few = [pruned.sample(np.random.default_rng(1))]
            assert costs.cost(few)["latency_ms"] == space.costs(latency=table).cost(few)["latency_ms"]
            assert np.isfinite(costs.bounds()["latency_ms"]).all()


def test_a_latency_budget_is_decided(space: CellSpace) -> None:
    costs = space.costs(latency=arbitrary(space))
    least, greatest = costs.bounds()["latency_ms"]
    middle = (least + greatest) / 2
    budget = Budget.model_validate({"latency_ms": {"min": 0.98 * middle, "max": 1.02 * middle}})
    budget.check(costs)
    example = budget.example(space, costs, np.random.default_rng(0))
    assert example is not None
    assert budget.met(costs.cost([example])).all()
    with pytest.raises(UserError, match=r"is met by no architecture; in .*, latency_ms can be"):
        Budget.model_validate({"latency_ms": {"max": 0.9 * least}}).check(costs)


@pytest.mark.parametrize("name", ["darts", "darts-imagenet", "nats-bench"])
def test_latencies_of_ten_thousand_architectures_take_well_under_a_second(name: str) -> None:
    space = cells(name, {})
    generator = np.random.default_rng(0)
    architectures = [space.sample(generator) for _ in range(1000)] * 10
    start = time.perf_counter()
    latency_ms = space.costs(latency=arbitrary(space)).cost(architectures)["latency_ms"]
    assert time.perf_counter() - start < 1.0
    assert latency_ms.shape == (10_000,)
