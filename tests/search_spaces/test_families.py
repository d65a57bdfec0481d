"""The published spaces against what their papers and tables say."""

import json
from pathlib import Path

import numpy as np
import pytest

import search_spaces
from search_spaces import Architecture, SearchSpace


def member(space: SearchSpace, repeats: list[int], option: str) -> Architecture:
    """The first `repeats` layers of each stage take the option, the others are skipped."""
    words = []
    for choice in space.choices:
        stage, layer = (int(number) for number in choice.name.removeprefix("stage").split("."))
        words.append("k3e1" if stage == 1 else option if layer <= repeats[stage - 1] else "skip")
    return space.parse(f"{space.name}: {' '.join(words)}")


def macs_and_params(space: SearchSpace, architecture: Architecture) -> tuple[int, int]:
    cost = space.costs().cost([architecture])
    return int(cost["macs"]), int(cost["params"])


@pytest.mark.parametrize(
    ("name", "size", "macs_m", "params_m"),
    [
        ("proxylessnas", 3 * 6**6 * 7**15, (108.9, 709.5), (2.16, 5.14)),
        ("proxylessnas-large", 3 * 18**6 * 19**15, (40.7, 604.2), (1.79, 5.10)),
    ],
)
def test_pad_nas_spaces_have_their_published_size_and_range(
    name: str, size: int, macs_m: tuple[float, float], params_m: tuple[float, float]
) -> None:
    space = search_spaces.load(name)
    assert space.size() == size
    assert len(space.choices) == 22
    bounds = space.costs().bounds()
    assert [round(end / 1e6, 1) for end in bounds["macs"]] == list(macs_m)
    assert [round(end / 1e6, 2) for end in bounds["params"]] == list(params_m)


def test_pad_nas_options_go_by_kernel_then_expansion_with_identity_last() -> None:
    first, second, third, *_ = search_spaces.load("proxylessnas").choices
    assert first.options == ("k3e1", "k5e1", "k7e1")
    assert second.options == ("k3e3", "k3e6", "k5e3", "k5e6", "k7e3", "k7e6")
    assert third.options == (*second.options, "skip")
    large = search_spaces.load("proxylessnas-large").choices[2].options
    assert large == (*(f"k{kernel}e{expansion}" for kernel in (3, 5, 7) for expansion in range(1, 7)), "skip")


def test_the_basic_space_without_identities_begins_at_291_million_multiply_adds() -> None:
    space = search_spaces.load("proxylessnas")
    deep = space.restrict({c.name: [o for o in c.options if o != "skip"] for c in space.choices})
    assert round(deep.costs().bounds()["macs"][0] / 1e6, 1) == 291.1


@pytest.mark.parametrize(
    ("name", "params_m", "macs_m"), [("proxylessnas", 4.08, 390.4), ("proxylessnas-large", 4.07, 349.1)]
)
def test_the_members_like_mobilenet_v2(name: str, params_m: float, macs_m: float) -> None:
    space = search_spaces.load(name)
    macs, params = macs_and_params(space, member(space, [1, 2, 3, 4, 3, 3, 1], "k3e6"))
    assert (round(params / 1e6, 2), round(macs / 1e6, 1)) == (params_m, macs_m)


def test_proxyless_mobile_is_in_the_basic_space() -> None:
    """The network that ProxylessNAS found for mobile phones: 4.081 M parameters and 320.4 M multiply-adds."""
    space = search_spaces.load("proxylessnas")
    proxyless_mobile = space.parse(
        "proxylessnas: k3e1 | k5e3 k3e3 skip skip | k7e3 k3e3 k5e3 k5e3 | k7e6 k5e3 k5e3 k5e3 | "
        "k5e6 k5e3 k5e3 k5e3 | k7e6 k7e6 k7e3 k7e3 | k7e6"
    )
    assert macs_and_params(space, proxyless_mobile) == (320_427_584, 4_080_512)


def test_some_networks_of_nas_bench_macro() -> None:
    """Figures of the public table, which counts the networks as their authors trained them."""
    space = search_spaces.load("nas-bench-macro")
    assert space.size() == 6561
    assert macs_and_params(space, space.architecture([0] * 8)) == (7_713_280, 387_882)
    assert macs_and_params(space, space.architecture([0, 2, 0, 1, 2, 1, 0, 0])) == (47_327_744, 890_666)
    assert macs_and_params(space, space.architecture([1, 1, 1, 1, 1, 2, 2, 1])) == (65_012_224, 2_181_386)
    assert macs_and_params(space, space.architecture([0, 0, 0, 1, 1, 1, 1, 0])) == (31_390_208, 1_118_378)


def test_all_networks_of_nas_bench_macro(shared: Path) -> None:
    table = json.loads((shared / "data/nas-bench-macro_cifar10.json").read_text())
    space = search_spaces.load("nas-bench-macro")
    cost = space.costs().cost([space.architecture([int(digit) for digit in key]) for key in table])
    assert len(table) == 6561
    np.testing.assert_array_equal(cost["macs"], [row["flops"] for row in table.values()])
    np.testing.assert_array_equal(cost["params"], [row["params"] for row in table.values()])
