"""Properties of every installed space, for any draw, restriction, text and settings."""

from __future__ import annotations

import json
import math
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import search_spaces
from search_spaces import Architecture, SearchSpace, UserError
from search_spaces.cell.space import CellSpace
from search_spaces.chain.space import ChainSpace
from tests.support.small_spaces import torch_counts

CELLS: dict[str, Any] = {"channels": 4, "resolution": 8, "cells": 3}
SMALL: dict[str, dict[str, Any]] = {
    "darts": CELLS,
    "darts-imagenet": {**CELLS, "resolution": 32},
    "nats-bench": {**CELLS, "cells": 1},
}
DARTS = ["max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5"]

every_space = pytest.mark.parametrize("name", search_spaces.names())


@cache
def small(name: str) -> SearchSpace:
    return search_spaces.load(name, **SMALL.get(name, {"width": 0.25, "resolution": 32}))


def architectures(space: SearchSpace) -> st.SearchStrategy[Architecture]:
    """Draw any architecture; the ends of every choice are as likely as its middle."""
    return st.tuples(*(st.sampled_from(values) for values in space.values())).map(space.architecture)


def options_of(space: SearchSpace) -> dict[str, list[str]]:
    """Return the surviving options by choice."""
    pairs = zip(space.choices, space.surviving, strict=True)
    return {choice.name: [choice.options[index] for index in surviving] for choice, surviving in pairs}


@st.composite
def kept(draw: st.DrawFn, space: SearchSpace) -> dict[str, list[str]]:
    """Draw the options that some of the choices keep."""
    restriction: dict[str, list[str]] = {}
    for choice, (name, options) in zip(space.choices, options_of(space).items(), strict=True):
        if draw(st.booleans()) and options:
            bits = draw(st.integers(0 if choice.subset else 1, 2 ** len(options) - 1))
            restriction[name] = [option for bit, option in enumerate(options) if bits >> bit & 1]
    return restriction


@st.composite
def tiny(draw: st.DrawFn, space: SearchSpace) -> SearchSpace:
    """Restrict the space to so few options, in at most four choices, that all architectures can be counted."""
    wide = draw(st.sets(st.sampled_from([choice.name for choice in space.choices]), max_size=4))
    least = 0 if space.choices[0].subset else 1
    left = {}
    for name, options in options_of(space).items():
        first = draw(st.integers(0, len(options) - 1))
        left[name] = options[first : first + least + (2 if name in wide else 0)]
    return space.restrict(left)


def everything(space: SearchSpace) -> list[Architecture]:
    return [space.architecture(indices) for indices in product(*space.values())]


@st.composite
def with_settings(draw: st.DrawFn, name: str) -> SearchSpace:
    """Load the space with valid settings, least and odd values included."""
    known = small(name).settings
    channels = st.integers(1, 5).map(lambda number: 8 * number)
    changes: dict[str, Any] = {
        "width": draw(st.sampled_from([1.0, 0.5]) | st.floats(0.01, 0.4)),
        "num_classes": draw(st.integers(1, 20)),
        "stem_stride": draw(st.integers(1, 2 if name == "darts-imagenet" else 3)),
    }
    least = changes["stem_stride"]
    if "stage_strides" in known:
        stages = len(known["stage_strides"])
        halving = draw(st.sets(st.integers(0, stages - 1), max_size=3))
        changes["stage_strides"] = [2 if stage in halving else 1 for stage in range(stages)]
        least *= math.prod(changes["stage_strides"])
        changes["head_channels"] = draw(st.none() | channels) if isinstance(small(name), ChainSpace) else draw(channels)
    if "stage_channels" in known:  # rising, as basic blocks need
        changes["stem_channels"], *changes["stage_channels"] = sorted(
            draw(st.lists(channels, min_size=stages + 1, max_size=stages + 1))
        )
    if "repeats" in known:
        repeats = st.lists(st.integers(0, 2), min_size=stages, max_size=stages)
        changes["repeats"] = draw(repeats.filter(any))
    if isinstance(small(name), CellSpace):
        least = changes["stem_stride"] ** (3 if name == "darts-imagenet" else 1) * 4
        changes |= {
            "cells": draw(st.integers(1, 4)),
            "channels": draw(st.integers(2, 9)),
            "affine": draw(st.booleans()),
        }
    if "subset" in known:
        single = not draw(st.booleans())
        operations = st.lists(st.sampled_from([*DARTS, *["none"] * single]), unique=True, min_size=1)
        types = draw(st.sampled_from(["one", "two"])) if changes["cells"] > 2 else "one"
        changes |= {"subset": not single, "operations": draw(operations), "cell_types": types}
    changes["resolution"] = least + draw(st.integers(0, 20))
    return search_spaces.load(name, **changes)


@every_space
@settings(max_examples=5)
@given(st.data())
def test_an_architecture_is_its_text_and_its_indices(name: str, data: st.DataObject) -> None:
    space = data.draw(with_settings(name))
    architecture = data.draw(architectures(space))
    for again in (space.parse(str(architecture)), space.architecture(architecture.indices)):
        assert (again, str(again)) == (architecture, str(architecture))
    assert architecture in space


@every_space
@settings(max_examples=5)
@given(st.data())
def test_any_other_text_is_refused_in_one_sentence(name: str, data: st.DataObject) -> None:
    space = small(name)
    words = str(data.draw(architectures(space))).split(" ")
    noise = st.sampled_from([*words, "|", "none", "+", "~0", ":"]) | st.text(max_size=5)
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(words)))
        words[position : position + data.draw(st.integers(0, 1))] = data.draw(st.lists(noise, max_size=2))
    text = " ".join(words)
    message = ""
    try:
        assert space.parse(text) in space
    except UserError as refusal:
        message = str(refusal)
    assert len(message.splitlines()) <= 1


@every_space
@settings(max_examples=5)
@given(st.data(), st.integers(0, 2**32))
def test_draws_from_a_restricted_space_belong_to_it_and_cost_the_same_as_in_the_whole(
    name: str, data: st.DataObject, seed: int
) -> None:
    space = small(name)
    restriction = data.draw(kept(space))
    left = space.restrict(restriction)
    assert left.choices == space.choices
    assert options_of(left) == options_of(space) | {
        choice.name: [option for option in choice.options if option in restriction[choice.name]]
        for choice in space.choices
        if choice.name in restriction
    }
    pairs = zip(left.choices, left.surviving, strict=True)
    assert left.size() == math.prod(2 ** len(kept) if choice.subset else len(kept) for choice, kept in pairs)
    generator = np.random.default_rng(seed)
    drawn = [left.sample(generator) for _ in range(10)]
    for architecture in drawn:
        assert architecture in left
        assert architecture in space
        for choice, value in zip(left.choices, architecture.indices, strict=True):
            assert {choice.options[option] for option in choice.taken(value)} <= {*options_of(left)[choice.name]}
    costs, whole = left.costs().cost(drawn), space.costs().cost(drawn)
    for resource, bounds in left.costs().bounds().items():
        assert costs[resource].tolist() == whole[resource].tolist()
        assert bounds[0] <= costs[resource].min() <= costs[resource].max() <= bounds[1]


@every_space
@settings(max_examples=3)
@given(st.data())
def test_size_and_bounds_are_those_of_all_architectures(name: str, data: st.DataObject) -> None:
    space = data.draw(tiny(small(name)))
    left = space.restrict(data.draw(kept(space)))
    within = [architecture for architecture in everything(space) if architecture in left]
    assert set(within) == set(everything(left))
    assert left.size() == len(set(within))
    costs = left.costs()
    for resource, cost in costs.cost(within).items():
        assert costs.bounds()[resource] == (cost.min().item(), cost.max().item())


@every_space
@settings(max_examples=3)
@given(st.data())
def test_costs_are_those_of_the_network(name: str, data: st.DataObject) -> None:
    space = data.draw(with_settings(name))
    architecture = data.draw(architectures(space))
    cost = space.costs().cost([architecture])
    assert torch_counts(space, architecture) == (cost["macs"].item(), cost["params"].item())


@every_space
@settings(max_examples=5)
@given(st.data())
def test_a_restricted_space_is_rebuilt_from_its_specification(name: str, data: st.DataObject) -> None:
    space = data.draw(with_settings(name))
    left = space.restrict(data.draw(kept(space)))
    for part in (left, left.only(data.draw(architectures(left)))):
        specification = json.loads(json.dumps(part.specification()))
        again = search_spaces.from_specification(specification)
        assert type(again) is type(part)
        assert again.specification() == specification == part.specification()
        assert (again.choices, again.surviving, again.values()) == (part.choices, part.surviving, part.values())
        assert (again.resolution, again.num_classes, again.size()) == (part.resolution, part.num_classes, part.size())
        assert again.costs().bounds() == part.costs().bounds()
        assert again.sample(np.random.default_rng(1)) == part.sample(np.random.default_rng(1))
