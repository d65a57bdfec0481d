"""Latency with searched channels: sums over built networks, interpolation between measured rows, and missing rows."""

import random
import time
from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any, cast

import numpy as np
import pytest
import torch
from scipy.interpolate import RegularGridInterpolator
from torch import nn

import search_spaces
from search_spaces import Architecture, Budget, LatencyTable, SearchSpace, UserError
from search_spaces.elastic.space import ElasticFamily, Row
from search_spaces.elastic.split_attention import SplitAttention
from search_spaces.latency_table import LatencyKey
from tests.support.small_spaces import small_elastic_space

NAMES = ["fbnetv2-f", "fbnetv2-f-fine", "fbnetv2-f++", "fp-nas-l0", "fp-nas-l1", "fp-nas-l2"]


def run(space: SearchSpace, architecture: Architecture) -> list[LatencyKey]:
    """Return a key for every part of the built network, from its modules and the features that pass through them."""
    stem, blocks, head = cast("Iterable[Any]", space.network(architecture).eval())
    features = torch.zeros(1, 3, space.resolution, space.resolution)
    size, features = space.resolution, stem(features)
    stride = stem[0].stride[0]
    keys = [LatencyKey("stem", size, 3, features.shape[1], 3, 0, stride)]
    for block in blocks:
        (_, channels, size, _), before = features.shape, features
        features = block(features)
        gives = features.shape[1]
        if "skip" in dict(block.named_children()):
            if features is not before:
                keys.append(LatencyKey("skip", size, channels, gives, 1, 0, block.skip[0].stride[0]))
            continue
        (kernel, _), (stride, _) = block.depthwise[0].kernel_size, block.depthwise[0].stride
        hidden, splits = block.depthwise[0].in_channels, block.depthwise[0].out_channels // block.depthwise[0].groups
        keeps_expand = hidden == channels and hasattr(block, "expand")
        key = LatencyKey("mbconv-expand" if keeps_expand else "mbconv", size, channels, gives, kernel, 0, stride)
        attention = [module for module in block if isinstance(module, SplitAttention)]
        swish = isinstance(block.depthwise[2], nn.SiLU)
        assert swish or isinstance(block.depthwise[2], nn.ReLU)
        ratio = round(hidden / channels, 4)
        keys.append(
            key._replace(expansion=ratio, se=bool(attention), splits=splits, activation="swish" if swish else "")
        )
    conv = head.get_submodule("conv")[0]
    keys.append(LatencyKey("head", features.shape[2], conv.in_channels, conv.out_channels, 1, 0, 1))
    return [*keys, LatencyKey("classifier", 1, conv.out_channels, space.num_classes, 1, 0, 1)]


class Arbitrary(dict[LatencyKey, float]):
    """Has a latency for every key: a table of all blocks."""

    def __missing__(self, key: LatencyKey) -> float:
        self[key] = random.Random(str(tuple(key))).random()
        return self[key]


def table_of(networks: Mapping[Architecture, list[LatencyKey]], space: SearchSpace) -> LatencyTable:
    rows = Arbitrary()
    for key in [*space.latency_blocks(), *(key for keys in networks.values() for key in keys)]:
        rows[key]
    return LatencyTable(rows, "The table")


def measured(space: SearchSpace) -> LatencyTable:
    return table_of({}, space)


@pytest.mark.parametrize("count", [6, pytest.param(60, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", NAMES)
def test_a_table_of_all_blocks_is_summed_exactly(name: str, count: int) -> None:
    space = search_spaces.load(name, width=0.5, resolution=45, num_classes=7)
    generator = np.random.default_rng(0)
    with torch.device("meta"):
        networks = {
            architecture: run(space, architecture) for architecture in (space.sample(generator) for _ in range(count))
        }
    table = table_of(networks, space)
    assert len(table.entries_ms) > len(space.latency_blocks())
    summed = space.costs(latency=table).cost(list(networks))["latency_ms"]
    assert summed.dtype == np.float64
    by_hand = [sum(table.entries_ms[key] for key in keys) for keys in networks.values()]
    assert summed.tolist() == pytest.approx(by_hand, rel=1e-12)


def two_rows() -> SearchSpace:
    """Build rows whose ranges have options that a table need not hold. The second row's input has 4 to 7 channels."""
    rows = (
        Row(channels=(4, 7, 1), repeats=1, stride=1, expansion=(1, 1, 1)),
        Row(channels=(8, 24, 4), repeats=2, stride=2, expansion=(0.5, 3, 0.5)),
    )
    return ElasticFamily(name="two", paper="", rows=rows, attention=("se0",), kernels=(0, 3), resolution=16)()


def test_unmeasured_options_are_interpolated() -> None:
    """Compare with scipy, for every architecture of the second row after every width of the first row."""
    space = two_rows()
    rows = measured(space).entries_ms
    costs = space.costs(latency=LatencyTable(rows, "The table"))
    channels, expansions, arriving = (8, 16, 24), (0.5, 1.5, 3.0), (4, 5, 7)

    def block(size: int, before: int, expansion: float, after: int, stride: int, activation: str) -> float:
        hidden = round(expansion * after)
        op = "mbconv-expand" if hidden == before else "mbconv"
        ratio = round(hidden / before, 4)
        return rows[LatencyKey(op, size, before, after, 3, ratio, stride, activation=activation)]

    stem, head = LatencyKey("stem", 16, 3, 16, 3, 0, 2), LatencyKey("head", 4, 8, 1984, 1, 0, 1)
    classifier = LatencyKey("classifier", 1, 1984, 1000, 1, 0, 1)
    kinds = LatencyKey("skip", 8, 16, 4, 1, 0, 1), LatencyKey("mbconv", 8, 16, 4, 3, 1, 1)
    enters = [[rows[kind._replace(out_channels=width)] for width in arriving] for kind in kinds]
    for activation in ("relu", "swish"):
        word = "" if activation == "relu" else "swish"
        first = RegularGridInterpolator(
            (arriving, expansions, channels),
            [[[block(8, b, e, a, 2, word) for a in channels] for e in expansions] for b in arriving],
        )
        second = RegularGridInterpolator(
            (expansions, channels), [[block(4, a, e, a, 1, word) for a in channels] for e in expansions]
        )
        skip = RegularGridInterpolator(
            (arriving, channels),
            [[rows[LatencyKey("skip", 8, b, a, 1, 0, 2)] for a in channels] for b in arriving],
        )
        for before, (e, expansion), (c, after) in product(
            range(4, 8), enumerate(np.arange(0.5, 3.1, 0.5)), enumerate(range(8, 25, 4))
        ):
            skipped, built = ([k, 0, 0, 0, before - 4, k, activation == "swish", 0, e, c] for k in (0, 1))
            total = costs.total(np.array([skipped, built]))["latency_ms"]
            always = sum(rows[key] for key in (stem, head._replace(in_channels=after), classifier))
            expected = always + np.interp(before, arriving, enters[0]) + skip((before, after))
            assert total[0].item() == pytest.approx(expected.item())
            rest = first((before, expansion, after)) + second((expansion, after))
            expected = always + np.interp(before, arriving, enters[1]) + rest
            assert total[1].item() == pytest.approx(expected.item())


def test_an_additional_row_of_a_table_is_used_as_measured() -> None:
    space = two_rows()
    table = measured(space)
    architecture = space.architecture([1, 0, 0, 0, 2, 1, 1, 0, 3, 1])
    between = space.costs(latency=table).cost([architecture])["latency_ms"].item()
    table.entries_ms[LatencyKey("mbconv", 8, 6, 12, 3, 4, 2, activation="swish")] = 100.0
    exact = space.costs(latency=table).cost([architecture])["latency_ms"].item()
    assert 99 < exact - between < 100


def test_every_row_of_a_measured_table_is_needed_and_named() -> None:
    space = small_elastic_space()
    rows = measured(space).entries_ms
    for key in rows.keys() - {LatencyKey("skip", 16, 8, 8, 1, 0, 1)}:  # the identity has no row
        rest = LatencyTable({other: ms for other, ms in rows.items() if other != key}, "The rest")
        with pytest.raises(UserError, match="The rest has no latency for") as refused:
            space.costs(latency=rest)
        assert str(key) in str(refused.value)


def test_a_pruned_space_needs_fewer_rows_and_costs_the_same() -> None:
    space = small_elastic_space()
    table = measured(space)
    pruned = space.restrict({"row2.kernel": ["k3"], "row2.activation": ["swish"], "row3.channels": ["c24"]})
    few = measured(pruned)
    assert len(few.entries_ms) < len(table.entries_ms)
    sampled = [pruned.sample(np.random.default_rng(seed)) for seed in range(20)]
    expected = space.costs(latency=table).cost(sampled)["latency_ms"].tolist()
    for latency in (table, few):
        assert pruned.costs(latency=latency).cost(sampled)["latency_ms"].tolist() == expected
    with pytest.raises(UserError, match="has no latency for skip, input 16x16, channels 8 to 16"):
        space.costs(latency=few)


def test_a_latency_budget_is_decided() -> None:
    space = small_elastic_space()
    costs = space.costs(latency=measured(space))
    every = costs.total(np.array(list(product(*space.surviving))))
    latency_ms = every["latency_ms"]
    least, greatest = costs.bounds()["latency_ms"]
    assert (least, greatest) == (latency_ms.min().item(), latency_ms.max().item())
    generator = np.random.default_rng(0)
    for quantile in (0.001, 0.2, 0.5, 0.99):
        low = float(np.quantile(latency_ms, quantile))
        windows = {"latency_ms": {"min": low, "max": 1.02 * low}, "macs": {"max": float(every["macs"].max())}}
        budget = Budget.model_validate(windows)
        budget.check(costs)
        example = budget.example(space, costs, generator)
        assert example is not None
        assert budget.met(costs.cost([example])).all()
    with pytest.raises(UserError, match=rf"is met by no architecture; in tiny, latency_ms can be {least:.4f} to"):
        Budget.model_validate({"latency_ms": {"max": 0.99 * least}}).check(costs)


@pytest.mark.parametrize("name", NAMES)
def test_latencies_of_ten_thousand_architectures_take_well_under_a_second(name: str) -> None:
    space = search_spaces.load(name)
    costs = space.costs(latency=measured(space))
    generator = np.random.default_rng(3)
    indices = generator.integers([len(choice.options) for choice in space.choices], size=(10_000, len(space.choices)))
    start = time.perf_counter()
    total = costs.total(indices)
    assert time.perf_counter() - start < 0.5
    assert bool(np.isfinite(total["latency_ms"]).all())


def test_the_number_of_measured_blocks() -> None:
    rows = {name: len(search_spaces.load(name).latency_blocks()) for name in NAMES}
    assert list(rows.values()) == [2052, 2205, 4012, 4765, 4772, 5066]
