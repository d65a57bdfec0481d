"""The space as a value: choices, architectures and restriction."""

import json

import numpy as np
import pytest

import search_spaces
from search_spaces import SearchSpace, UserError


@pytest.fixture
def space() -> SearchSpace:
    return search_spaces.load("proxylessnas", width=0.25, resolution=32)


def test_text_of_an_architecture_parses_back(space: SearchSpace) -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        architecture = space.sample(generator)
        assert space.parse(str(architecture)) == architecture
        assert architecture in space


def test_text_lists_the_choices_stage_by_stage(space: SearchSpace) -> None:
    indices = [choice.options.index("skip") if "skip" in choice.options else 0 for choice in space.choices]
    assert str(space.architecture(indices)) == (
        "proxylessnas: k3e1 | k3e3 skip skip skip | k3e3 skip skip skip | k3e3 skip skip skip | "
        "k3e3 skip skip skip | k3e3 skip skip skip | k3e3"
    )


def test_sampling_is_uniform_over_surviving_options_and_seeded(space: SearchSpace) -> None:
    pruned = space.restrict({"stage2.2": ["k3e3", "skip"], "stage4.1": ["k7e6"]})
    drawn = [pruned.sample(generator) for generator in [np.random.default_rng(1)] for _ in range(2000)]
    again = [pruned.sample(generator) for generator in [np.random.default_rng(1)] for _ in range(2000)]
    assert drawn == again
    options = pruned.choices[2].options
    second = [options[architecture.indices[2]] for architecture in drawn]
    assert set(second) == {"k3e3", "skip"}
    assert second.count("skip") == pytest.approx(1000, abs=100)
    assert {options[architecture.indices[9]] for architecture in drawn} == {"k7e6"}


def test_restriction_keeps_indices_size_and_parent(space: SearchSpace) -> None:
    pruned = space.restrict({"stage2.2": ["skip", "k3e3"]}).restrict({"stage7.1": ["k5e3"]})
    assert pruned.surviving[2] == (0, 6)
    assert pruned.choices == space.choices
    assert pruned.size() == space.size() // 7 * 2 // 6
    assert space.surviving[2] == tuple(range(7))
    outside = space.architecture([0] * 22)
    assert outside not in pruned
    with pytest.raises(UserError, match=r"stage7\.1 of proxylessnas cannot be k3e3; it can be k5e3\."):
        pruned.architecture([0] * 22)
    with pytest.raises(UserError, match=r"stage7\.1 of proxylessnas can keep k5e3, but not k3e3\."):
        pruned.restrict({"stage7.1": ["k3e3"]})
    with pytest.raises(UserError, match="nothing at all"):
        pruned.restrict({"stage7.1": []})
    with pytest.raises(UserError, match=r"no choice 'stage7\.11'; the nearest is 'stage7\.1'"):
        pruned.restrict({"stage7.11": ["k3e3"]})


def test_only_leaves_one_architecture(space: SearchSpace) -> None:
    architecture = space.sample(np.random.default_rng(3))
    alone = space.only(architecture)
    assert alone.size() == 1
    assert alone.sample(np.random.default_rng(4)) == architecture


def test_specification_is_json_that_rebuilds_the_space(space: SearchSpace) -> None:
    pruned = space.restrict({"stage2.2": ["k3e3", "skip"]})
    rebuilt = search_spaces.from_specification(json.loads(json.dumps(pruned.specification())))
    assert rebuilt.specification() == pruned.specification()
    assert rebuilt.surviving == pruned.surviving
    assert rebuilt.costs().as_table().fixed == pruned.costs().as_table().fixed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nas-bench-macro: skip", "not an architecture of proxylessnas"),
        ("k3e1 k3e3", "not an architecture of proxylessnas"),
        ("proxylessnas: k3e1", "has 22 choices, not 1"),
        (
            "proxylessnas: " + "k3e1 " + "k9e9 " * 21,
            r"stage2\.1 of proxylessnas cannot be 'k9e9'; it can be k3e3, k3e6",
        ),
    ],
)
def test_other_text_is_refused(space: SearchSpace, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        space.parse(text)
