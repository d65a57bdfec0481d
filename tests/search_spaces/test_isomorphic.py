"""Architectures that differ only in the position of an identity: one stand-alone network, two paths of a supernet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import search_spaces
from search_spaces import Architecture, SearchSpace
from search_spaces.chain.space import ChainFamily, ChainSpace, Stage
from search_spaces.elastic.space import ElasticFamily, ElasticSpace, Row
from tests.support.small_spaces import images_for, small_elastic_space, wake

BLOCKS = ("k3e1", "k3e2", "skip")
SMALL: dict[str, dict[str, Any]] = {
    **{name: {"width": 0.25, "resolution": 32} for name in ("efficientnet", "fbnet", "fbnet-enlarged", "mnasnet")},
    **{name: {"width": 0.25, "resolution": 32} for name in ("mobilenetv3", "proxylessnas", "proxylessnas-large")},
    **{name: {"width": 0.25, "resolution": 32} for name in ("fbnetv2-f", "fbnetv2-f-fine", "fp-nas-l0")},
    "nas-bench-macro": {"width": 0.25, "resolution": 16},
}


def chain(*stages: Stage, width: float = 1.0) -> ChainSpace:
    family = ChainFamily(
        name="tiny", stages=stages, stem_channels=8, stem_stride=1, resolution=8, num_classes=2, activation="relu"
    )
    return family(width=width)


def stage(channels: int = 8, repeats: int = 3, stride: int = 1, **others: Any) -> Stage:
    return Stage(channels=channels, repeats=repeats, stride=stride, **{"first": BLOCKS, **others})


def canonical(space: SearchSpace, text: str) -> str:
    return str(space.canonical(space.parse(f"{space.name}: {text}"))).partition(": ")[2]


def fine() -> ElasticSpace:
    """Build a space of 512 architectures: three blocks of a row, each with 8 or 16 channels, after a stem of 8."""
    rows = (Row(channels=(8, 16, 8), repeats=3, stride=1, expansion=(2, 2, 1)),)
    family = ElasticFamily(
        name="fine", paper="", rows=rows, kernels=(0, 3), attention=("s0",), fine=True, resolution=8, num_classes=2
    )
    return family(stem_channels=8, stem_stride=1, head_channels=8)


def everything(space: SearchSpace) -> list[Architecture]:
    return [space.architecture(indices) for indices in product(*space.values())]


def layers(network: nn.Module) -> list[str]:
    """Return every block except identities, as torch prints it."""
    blocks = list(network.get_submodule("blocks").children())
    leaves = [[module for module in block.modules() if not list(module.children())] for block in blocks]
    pairs = zip(blocks, leaves, strict=True)
    return [str(block) for block, modules in pairs if not all(isinstance(leaf, nn.Identity) for leaf in modules)]


def partition(space: SearchSpace, key: Callable[[Architecture], Hashable]) -> set[frozenset[Architecture]]:
    """Group the architectures by key."""
    groups = defaultdict(set)
    for architecture in everything(space):
        groups[key(architecture)].add(architecture)
    return set(map(frozenset, groups.values()))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("k5e6 k3e3 | k3e3 skip k5e6 | k5e6 skip k3e3", "k5e6 k3e3 | k3e3 k5e6 skip | k5e6 k3e3 skip"),
        ("skip skip | skip skip k3e3 | skip skip skip", "skip skip | skip k3e3 skip | skip skip skip"),
        ("k5e6 k3e3 | k3e3 k5e6 k3e3 | k5e6 k3e3 k5e6", "k5e6 k3e3 | k3e3 k5e6 k3e3 | k5e6 k3e3 k5e6"),
    ],
)
def test_identities_stand_last_and_never_pass_a_layer_that_changes_the_shape(text: str, expected: str) -> None:
    """The first layer of each of these stages has stride 2: its skip is a convolution."""
    assert canonical(search_spaces.load("nas-bench-macro"), text) == expected


def test_the_border_of_stages_is_where_the_layers_differ() -> None:
    """Equal layers of two stages form one row. Another activation, other options or other channels end a row."""
    text, moved = "skip k3e1 | skip k3e2", "k3e1 k3e2 | skip skip"
    apart = "k3e1 skip | k3e2 skip"
    pair = stage(repeats=2)
    assert canonical(chain(pair, pair), text) == moved
    assert canonical(chain(pair, stage(repeats=2, activation="silu")), text) == apart
    assert canonical(chain(pair, stage(repeats=2, first=(*BLOCKS, "k5e1"))), text) == apart
    wider = chain(pair, stage(channels=16, repeats=2))
    assert canonical(wider, text) == "k3e1 skip | skip k3e2"
    assert canonical(chain(pair, stage(channels=16, repeats=2), width=0.5), text) == moved, "all layers have 8 channels"


def test_a_canonical_form_may_take_pruned_options() -> None:
    whole = chain(stage())
    pruned = whole.restrict({"stage1.1": ["skip"], "stage1.2": ["k3e2"], "stage1.3": ["k3e1", "k3e2"]})
    (first, second) = everything(pruned)
    assert str(pruned.canonical(first)) == "tiny: k3e2 k3e1 skip"
    assert pruned.canonical(second) == whole.canonical(second) == whole.parse("tiny: k3e2 k3e2 skip")
    assert pruned.canonical(first) not in pruned


@pytest.mark.parametrize("name", ["darts", "nats-bench"])
def test_cells_have_no_layers_to_move(name: str) -> None:
    space = search_spaces.load(name)
    architecture = space.sample(np.random.default_rng(0))
    assert space.canonical(architecture) == architecture


def test_skipped_blocks_stand_last_if_they_keep_their_channels() -> None:
    """The stem gives 8 channels. A skipped block that changes the channels is a convolution, and stays."""
    space = fine()
    assert canonical(space, "k0 swish s0 e2 c8 | k3 relu s0 e2 c16 | k3 swish s0 e2 c8") == (
        "k3 relu s0 e2 c16 | k3 swish s0 e2 c8 | k0 relu s0 e2 c8"
    )
    assert canonical(space, "k3 relu s0 e2 c16 | k0 relu s0 e2 c16 | k3 relu s0 e2 c8") == (
        "k3 relu s0 e2 c16 | k3 relu s0 e2 c8 | k0 relu s0 e2 c8"
    )
    assert canonical(space, "k0 swish s0 e2 c16 | k3 relu s0 e2 c16 | k0 relu s0 e2 c16") == (
        "k0 relu s0 e2 c16 | k3 relu s0 e2 c16 | k0 relu s0 e2 c16"
    )


@pytest.mark.parametrize(
    ("make", "networks"),
    [
        (lambda: chain(stage(repeats=2), stage(repeats=3)), 1 + 2 + 4 + 8 + 16 + 32),
        (lambda: chain(stage(repeats=2), stage(channels=16, repeats=3, stride=2)), (1 + 2 + 4) * 3 * (1 + 2 + 4)),
        (fine, None),
    ],
)
def test_architectures_share_a_canonical_form_exactly_if_torch_builds_the_same_layers(
    make: Callable[[], SearchSpace], networks: int | None
) -> None:
    """Compare canonical forms with the layers of the networks themselves, over a whole space."""
    space = make()
    by_form = partition(space, space.canonical)
    assert by_form == partition(space, lambda architecture: tuple(layers(space.network(architecture))))
    assert networks in (None, len(by_form))
    assert len(by_form) < space.size()
    assert all(space.canonical(architecture) in group for group in by_form for architecture in group)


@pytest.mark.parametrize("name", [*sorted(SMALL), "tiny elastic"])
def test_the_canonical_network_is_the_same_with_the_same_weights_and_costs(name: str) -> None:
    space = small_elastic_space() if name == "tiny elastic" else search_spaces.load(name, num_classes=5, **SMALL[name])
    generator, costs, changed = np.random.default_rng(0), space.costs(), 0
    while changed < 3:
        architecture = space.sample(generator)
        form = space.canonical(architecture)
        assert space.canonical(form) == form == space.parse(str(form))
        if form == architecture:
            continue
        changed += 1
        network, twin = space.network(architecture), space.network(form)
        assert layers(network) == layers(twin)
        wake(network)
        values = network.state_dict().values()
        twin.load_state_dict(dict(zip(twin.state_dict(), values, strict=True)))
        images = images_for(space)
        torch.testing.assert_close(twin.eval()(images), network.eval()(images), atol=0, rtol=0)
        pair = costs.cost([architecture, form])
        assert all(amounts[0] == amounts[1] for amounts in pair.values())


def test_nas_bench_macro_has_as_many_different_networks_as_its_paper_says() -> None:
    space = search_spaces.load("nas-bench-macro")
    assert space.size() == 6561
    assert len({space.canonical(architecture) for architecture in everything(space)}) == 3969


def test_in_a_supernet_isomorphic_architectures_have_other_weights_and_other_outputs() -> None:
    space = search_spaces.load("nas-bench-macro", **SMALL["nas-bench-macro"])
    torch.manual_seed(0)
    supernet = space.supernet()
    wake(supernet)
    first, second = (
        space.parse(f"{space.name}: k3e3 k3e3 | k3e3 {ending} | skip skip skip")
        for ending in ("k5e6 skip", "skip k5e6")
    )
    assert space.canonical(first) == space.canonical(second)
    with torch.no_grad():
        outputs = [supernet.eval()(images_for(space), architecture) for architecture in (first, second)]
    assert (outputs[0] - outputs[1]).abs().max() > 1e-3
