"""Blocks that architectures share are computed once, with the results of the separate networks."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import search_spaces
from raynas.evaluation import prefix_tree
from raynas.evaluation.batch_norm_recalibration import StatisticsCache, recalibrate_tree
from search_spaces import Architecture, SearchSpace
from search_spaces.chain.supernet import ChainSupernet
from search_spaces.supernet import Segment, State, Supernet
from tests.support.small_spaces import awake

SPACES: dict[str, dict[str, Any]] = {
    "darts": {"channels": 4, "resolution": 8},
    "darts of two types": {"channels": 4, "resolution": 8, "operations": 8, "subset": False, "cell_types": "two"},
    "efficientnet": {"width": 0.25, "resolution": 32},
    "fbnet": {"width": 0.5, "resolution": 32},
    "fbnetv2-f++": {"width": 0.25, "resolution": 32},
    "mobilenetv3": {"width": 0.25, "resolution": 32},
    "nas-bench-macro": {"width": 0.25, "resolution": 16},
    "nats-bench": {"channels": 4, "resolution": 8, "cells": 1},
    "resnet20": {"width": 0.5, "resolution": 16},
}
CLASSES, BATCH = 3, 8


@pytest.fixture(params=sorted(SPACES))
def space(request: pytest.FixtureRequest) -> SearchSpace:
    name: str = request.param
    return search_spaces.load(name.split(" ", maxsplit=1)[0], **SPACES[name], num_classes=CLASSES)


def draw_batches(space: SearchSpace, seed: int, count: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    size = (BATCH, 3, space.resolution, space.resolution)
    return [torch.randn(size, generator=generator).to(memory_format=torch.channels_last) for _ in range(count)]


def draw_with_shared_prefixes(space: SearchSpace, count: int = 6) -> list[Architecture]:
    """Draw architectures that each share a prefix with the architecture before. The first comes again at the end."""
    generator = np.random.default_rng(2)
    drawn = [space.sample(generator)]
    while len(drawn) < count:
        other, first = space.sample(generator), int(generator.integers(len(space.choices)))
        drawn.append(space.architecture([*drawn[-1].indices[:first], *other.indices[first:]]))
    return [*drawn, drawn[0]]


def logits_of_network(space: SearchSpace, supernet: Supernet, architecture: Architecture, recalibrate: bool) -> Tensor:
    """Return the logits of the separate network, recalibrated by torch's own cumulative average."""
    network = space.network(architecture).to(memory_format=torch.channels_last)
    network.load_state_dict(space.network_state(architecture, supernet.state_dict()))
    network.eval()
    if recalibrate:
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
                module.momentum = None
                module.train()
        for images in draw_batches(space, 3):
            network(images)
        network.eval()
    return torch.cat([network(images) for images in draw_batches(space, 4)])


def logits_by_tree(
    space: SearchSpace,
    supernet: Supernet,
    groups: Sequence[Sequence[Architecture]],
    recalibrate: bool,
    statistics: StatisticsCache,
) -> Iterator[Tensor]:
    """Yield the logits of architectures that are measured in groups, one group after the other."""
    for group in groups:
        root = prefix_tree.grow(supernet, group)
        if recalibrate:
            statistics.recall(root)
            recalibrate_tree(root, draw_batches(space, 3))
            statistics.keep(root)
        logits: list[list[Tensor]] = [[] for _ in group]
        measured = [(images, torch.zeros(BATCH)) for images in draw_batches(space, 4)]
        prefix_tree.measure(root, measured, partial(gather, logits))
        yield from map(torch.cat, logits)


def gather(gathered: list[list[Tensor]], number: int, logits: Tensor, labels: Tensor) -> None:
    gathered[number].append(logits)


@pytest.mark.parametrize("recalibrate", [True, False])
@torch.inference_mode()
def test_each_network_has_the_logits_of_the_separate_network_in_any_grouping(
    space: SearchSpace, recalibrate: bool
) -> None:
    supernet, architectures = awake(space).eval(), draw_with_shared_prefixes(space)
    before = {key: value.clone() for key, value in supernet.state_dict().items()}
    together = list(logits_by_tree(space, supernet, [architectures], recalibrate, StatisticsCache()))
    for architecture, logits in zip(architectures, together, strict=True):
        torch.testing.assert_close(
            logits, logits_of_network(space, supernet, architecture, recalibrate), atol=2e-4, rtol=1e-4
        )
    shared_cache = StatisticsCache()
    for groups in ([[architecture] for architecture in architectures], [architectures[4:], architectures[:4]]):
        for statistics in (StatisticsCache(), shared_cache, StatisticsCache(max_bytes=1)):
            regrouped = list(logits_by_tree(space, supernet, groups, recalibrate, statistics))
            order = [architectures.index(architecture) for group in groups for architecture in group]
            assert all(torch.equal(logits, together[place]) for place, logits in zip(order, regrouped, strict=True))
    after = supernet.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items()), "the supernet does not change"


def count(calls: Counter[str], name: str, *_: object) -> None:
    calls[name] += 1


def test_each_prefix_runs_once_for_each_batch() -> None:
    """The tree has a node for each distinct prefix, and each node runs once for each batch."""
    space = search_spaces.load("nas-bench-macro", width=0.25, resolution=16, num_classes=CLASSES)
    supernet, architectures = awake(space).eval(), draw_with_shared_prefixes(space, 8)
    assert isinstance(supernet, ChainSupernet)
    prefixes = {
        architecture.indices[:length] for architecture in architectures for length in range(1, len(space.choices) + 1)
    }
    calls: Counter[str] = Counter()
    for name, module in supernet.named_modules():
        if (name.count(".") == 2 and name.startswith("blocks.")) or name in ("stem", "head"):
            module.register_forward_hook(partial(count, calls, name))
    root, statistics = prefix_tree.grow(supernet, architectures), StatisticsCache()
    assert sum(1 for _ in root) == 1 + 1 + len(prefixes) + len(set(architectures))
    with torch.inference_mode():
        statistics.recall(root)
        recalibrate_tree(root, draw_batches(space, 3, 2))
        statistics.keep(root)
        assert calls.pop("stem") == 2
        assert calls.pop("head") == 2 * len(set(architectures))
        assert calls.total() == 2 * len(prefixes)
        expected = Counter(
            f"blocks.{choice.key}.{choice.options[prefix[-1]]}"
            for prefix in prefixes
            for choice in [space.choices[len(prefix) - 1]]
        )
        assert calls == Counter({name: 2 * count for name, count in expected.items()})
        calls.clear()
        again = prefix_tree.grow(supernet, architectures)
        statistics.recall(again)
        recalibrate_tree(again, draw_batches(space, 3, 2))
        assert not calls, "with the same weights no node is recalibrated again"
        prefix_tree.measure(again, [(images, images) for images in draw_batches(space, 4, 3)], lambda *_: None)
    assert calls.total() == 3 * (1 + len(prefixes) + len(set(architectures)))


@pytest.mark.parametrize(("branches", "max_held"), [(1, 2), (2, 8), (3, 8)])
def test_the_features_of_one_path_are_held_at_a_time(branches: int, max_held: int) -> None:
    """In a tree of depth 6: features from which a branch has still to run, and a segment's input and output."""
    alive: list[weakref.ref[Tensor]] = []
    held: list[int] = []

    def run(state: State) -> State:
        output = state[0] + 1
        alive.append(weakref.ref(output))
        held.append(sum(reference() is not None for reference in alive))
        return (output,)

    def below(depth: int) -> prefix_tree.Node:
        children: dict[Hashable, prefix_tree.Node] = (
            {branch: below(depth - 1) for branch in range(branches)} if depth else {}
        )
        return prefix_tree.Node((), Segment(None, run, ()), children)

    root = below(6)
    prefix_tree.run_tree(
        root, (torch.zeros(1),), lambda node: None, lambda node, state: None, {id(node) for node in root}
    )
    assert len(held) == sum(branches**depth for depth in range(7))
    assert max(held) <= max_held
