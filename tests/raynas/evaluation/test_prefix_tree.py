"""What architectures share is computed once, and changes nothing: against each network standing alone."""

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


def batches(space: SearchSpace, seed: int, count: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    size = (BATCH, 3, space.resolution, space.resolution)
    return [torch.randn(size, generator=generator).to(memory_format=torch.channels_last) for _ in range(count)]


def related(space: SearchSpace, count: int = 6) -> list[Architecture]:
    """Architectures that differ from the one before from some choice on, and one that comes twice."""
    generator = np.random.default_rng(2)
    found = [space.sample(generator)]
    while len(found) < count:
        other, first = space.sample(generator), int(generator.integers(len(space.choices)))
        found.append(space.architecture([*found[-1].indices[:first], *other.indices[first:]]))
    return [*found, found[0]]


def alone(space: SearchSpace, supernet: Supernet, architecture: Architecture, recalibrate: bool) -> Tensor:
    """The logits of the network built by itself, its batch norms recalibrated by torch's own cumulative average."""
    network = space.network(architecture).to(memory_format=torch.channels_last)
    network.load_state_dict(space.network_state(architecture, supernet.state_dict()))
    network.eval()
    if recalibrate:
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
                module.momentum = None
                module.train()
        for images in batches(space, 3):
            network(images)
        network.eval()
    return torch.cat([network(images) for images in batches(space, 4)])


def by_tree(
    space: SearchSpace,
    supernet: Supernet,
    groups: Sequence[Sequence[Architecture]],
    recalibrate: bool,
    memory: StatisticsCache,
) -> Iterator[Tensor]:
    """The logits of architectures that are asked for in groups, one after the other."""
    for group in groups:
        root = prefix_tree.grow(supernet, group)
        if recalibrate:
            memory.recall(root)
            recalibrate_tree(root, batches(space, 3))
            memory.keep(root)
        found: list[list[Tensor]] = [[] for _ in group]
        measured = [(images, torch.zeros(BATCH)) for images in batches(space, 4)]
        prefix_tree.measure(root, measured, partial(gather, found))
        yield from map(torch.cat, found)


def gather(found: list[list[Tensor]], number: int, logits: Tensor, labels: Tensor) -> None:
    found[number].append(logits)


@pytest.mark.parametrize("recalibrate", [True, False])
@torch.inference_mode()
def test_every_network_gives_what_it_gives_alone_however_they_are_grouped(
    space: SearchSpace, recalibrate: bool
) -> None:
    supernet, architectures = awake(space).eval(), related(space)
    before = {key: value.clone() for key, value in supernet.state_dict().items()}
    together = list(by_tree(space, supernet, [architectures], recalibrate, StatisticsCache()))
    for architecture, logits in zip(architectures, together, strict=True):
        torch.testing.assert_close(logits, alone(space, supernet, architecture, recalibrate), atol=2e-4, rtol=1e-4)
    remembering = StatisticsCache()
    for groups in ([[one] for one in architectures], [architectures[4:], architectures[:4]]):
        for memory in (StatisticsCache(), remembering, StatisticsCache(max_bytes=1)):
            found = list(by_tree(space, supernet, groups, recalibrate, memory))
            order = [architectures.index(one) for group in groups for one in group]
            assert all(torch.equal(logits, together[place]) for place, logits in zip(order, found, strict=True))
    after = supernet.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items()), "the supernet is as it was"


def count(calls: Counter[str], name: str, *_: object) -> None:
    calls[name] += 1


def test_each_prefix_is_run_once_a_batch() -> None:
    """The tree has as many nodes as the architectures have distinct prefixes, and each runs once a batch."""
    space = search_spaces.load("nas-bench-macro", width=0.25, resolution=16, num_classes=CLASSES)
    supernet, architectures = awake(space).eval(), related(space, 8)
    assert isinstance(supernet, ChainSupernet)
    prefixes = {one.indices[:length] for one in architectures for length in range(1, len(space.choices) + 1)}
    calls: Counter[str] = Counter()
    for name, module in supernet.named_modules():
        if (name.count(".") == 2 and name.startswith("blocks.")) or name in ("stem", "head"):
            module.register_forward_hook(partial(count, calls, name))
    root, memory = prefix_tree.grow(supernet, architectures), StatisticsCache()
    assert sum(1 for _ in root) == 1 + 1 + len(prefixes) + len(set(architectures))
    with torch.inference_mode():
        memory.recall(root)
        recalibrate_tree(root, batches(space, 3, 2))
        memory.keep(root)
        assert calls.pop("stem") == 2
        assert calls.pop("head") == 2 * len(set(architectures))
        assert calls.total() == 2 * len(prefixes)
        expected = Counter(
            f"blocks.{choice.key}.{choice.options[one[-1]]}"
            for one in prefixes
            for choice in [space.choices[len(one) - 1]]
        )
        assert calls == Counter({name: 2 * count for name, count in expected.items()})
        calls.clear()
        again = prefix_tree.grow(supernet, architectures)
        memory.recall(again)
        recalibrate_tree(again, batches(space, 3, 2))
        assert not calls, "with the same weights nothing is calibrated twice"
        prefix_tree.measure(again, [(images, images) for images in batches(space, 4, 3)], lambda *_: None)
    assert calls.total() == 3 * (1 + len(prefixes) + len(set(architectures)))


@pytest.mark.parametrize(("branches", "most"), [(1, 2), (2, 8), (3, 8)])
def test_features_of_one_path_at_a_time_are_held(branches: int, most: int) -> None:
    """In a tree of depth 6 at most those from which a branch is still to go, and a stage's input and output."""
    alive: list[weakref.ref[Tensor]] = []
    held: list[int] = []

    def run(state: State) -> State:
        output = state[0] + 1
        alive.append(weakref.ref(output))
        held.append(sum(one() is not None for one in alive))
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
    assert max(held) <= most
