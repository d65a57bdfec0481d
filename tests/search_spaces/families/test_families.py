"""The published spaces agree with their papers and tables."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import models

import search_spaces
from search_spaces import Architecture, SearchSpace
from search_spaces.chain.space import ChainFamily, ChainSpace, Stage


def member(space: SearchSpace, repeats: list[int], option: str) -> Architecture:
    """Return the architecture whose first `repeats` layers of each stage take the option; it skips the others."""
    words = []
    for choice in space.choices:
        stage, layer = (int(number) for number in choice.name.removeprefix("stage").split("."))
        words.append("k3e1" if stage == 1 else option if layer <= repeats[stage - 1] else "skip")
    return space.parse(f"{space.name}: {' '.join(words)}")


def macs_and_params(space: SearchSpace, architecture: Architecture) -> tuple[int, int]:
    cost = space.costs().cost([architecture])
    return cost["macs"].item(), cost["params"].item()


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


def test_pad_nas_options_are_ordered_by_kernel_then_expansion_with_skip_last() -> None:
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
def test_the_architectures_like_mobilenet_v2(name: str, params_m: float, macs_m: float) -> None:
    space = search_spaces.load(name)
    macs, params = macs_and_params(space, member(space, [1, 2, 3, 4, 3, 3, 1], "k3e6"))
    assert (round(params / 1e6, 2), round(macs / 1e6, 1)) == (params_m, macs_m)


def test_proxyless_mobile_is_in_the_basic_space() -> None:
    """ProxylessNAS's network for mobile phones has 4.081 M parameters and 320.4 M multiply-adds."""
    space = search_spaces.load("proxylessnas")
    proxyless_mobile = space.parse(
        "proxylessnas: k3e1 | k5e3 k3e3 skip skip | k7e3 k3e3 k5e3 k5e3 | k7e6 k5e3 k5e3 k5e3 | "
        "k5e6 k5e3 k5e3 k5e3 | k7e6 k7e6 k7e3 k7e3 | k7e6"
    )
    assert macs_and_params(space, proxyless_mobile) == (320_427_584, 4_080_512)


def test_some_networks_of_nas_bench_macro() -> None:
    """Compare with the public table, which counts the networks as their authors trained them."""
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


@pytest.mark.parametrize(
    ("name", "size", "macs_m", "params_m"),
    [
        ("fbnet", 9**22, (48.6, 572.6), (2.77, 5.75)),
        ("fbnet-enlarged", 10**22, (49.4, 678.4), (2.79, 6.00)),
        ("mnasnet", 13**21, (50.0, 529.9), (1.78, 5.02)),
        ("efficientnet", 7**21, (63.5, 571.1), (1.79, 5.74)),
        ("mobilenetv3", 3 * 6**6 * 7**15, (105.3, 709.3), (3.53, 9.82)),
    ],
)
def test_hour_nas_and_mobile_net_spaces_have_their_size_and_range(
    name: str, size: int, macs_m: tuple[float, float], params_m: tuple[float, float]
) -> None:
    space = search_spaces.load(name)
    assert space.size() == size
    assert len(space.choices) == 22
    bounds = space.costs().bounds()
    assert [round(end / 1e6, 1) for end in bounds["macs"]] == list(macs_m)
    assert [round(end / 1e6, 2) for end in bounds["params"]] == list(params_m)


def test_fbnet_spaces_in_the_papers_counting() -> None:
    """Uniform draws have on average 249 million multiply-adds and 3.89 million parameters.

    The range is 50 to 583 million multiply-adds. The average is 319 million in the enlarged space.
    """
    costs = search_spaces.load("fbnet").costs(counting="paper").as_table()
    assert [round(end / 1e6) for end in costs.bounds()["macs"]] == [50, 583]
    mean = costs.expected(torch.full((22, 9), 1 / 9, dtype=torch.float64))
    assert (round(mean["macs"].item() / 1e6), round(mean["params"].item() / 1e6, 2)) == (249, 3.89)
    enlarged = search_spaces.load("fbnet-enlarged").costs(counting="paper").as_table()
    mean = enlarged.expected(torch.full((22, 10), 1 / 10, dtype=torch.float64))
    assert round(mean["macs"].item() / 1e6) == 319


@pytest.mark.parametrize(
    ("name", "layer", "options"),
    [
        ("fbnet", 0, "k3g2 k3e1 k3e3 k3e6 k5g2 k5e1 k5e3 k5e6 skip"),
        ("fbnet-enlarged", 21, "k3e1 k3e3 k3e6 k5e1 k5e3 k5e6 k7e1 k7e3 k7e6 skip"),
        ("mnasnet", 0, "sep3"),
        ("mnasnet", 1, "k3e1 k3e3 k3e6 k5e1 k5e3 k5e6 k3e1se k3e3se k3e6se k5e1se k5e3se k5e6se skip"),
        ("efficientnet", 0, "k3e1se"),
        ("efficientnet", 1, "k3e1se k3e3se k3e6se k5e1se k5e3se k5e6se skip"),
    ],
)
def test_options_stand_in_the_order_of_the_tables(name: str, layer: int, options: str) -> None:
    assert " ".join(search_spaces.load(name).choices[layer].options) == options


def test_mobile_net_v3_has_squeezes_and_swish_in_the_stages_of_the_large_network() -> None:
    space = search_spaces.load("mobilenetv3", width=0.25, resolution=32)
    assert isinstance(space, ChainSpace)
    swishing = [False, False, False, True, True, True, True]
    squeezing = [False, False, True, False, True, True, True]
    supernet = space.supernet()
    for position, choice in enumerate(space.choices):
        stage = int(choice.group.removeprefix("stage")) - 1
        kinds = {type(module) for module in supernet.block(position, 0).modules()}
        assert (nn.Hardswish in kinds) == swishing[stage]
        assert (nn.Hardsigmoid in kinds) == squeezing[stage]
        assert choice.options[0].endswith("se") == squeezing[stage]
    assert [name for name, _ in supernet.head.named_children()] == [
        *("conv", "pool", "flatten", "linear", "activation", "classifier")
    ]


def test_efficient_net_b0_and_mobile_net_v2_have_torchvisions_parameters() -> None:
    rows = (
        *((1, 16, 1, "k3e1se"), (2, 24, 2, "k3e6se"), (2, 40, 2, "k5e6se"), (3, 80, 2, "k3e6se")),
        *((3, 112, 1, "k5e6se"), (4, 192, 2, "k5e6se"), (1, 320, 1, "k3e6se")),
    )
    b0 = ChainFamily(
        name="efficientnet-b0",
        stages=tuple(
            Stage(channels=channels, repeats=repeats, stride=stride, first=(block,))
            for repeats, channels, stride, block in rows
        ),
        stem_channels=32,
        stem_stride=2,
        head_channels=1280,
        resolution=224,
        num_classes=1000,
        activation="silu",
    )()
    mobilenetv2 = search_spaces.load("mobilenetv2")
    with torch.device("meta"):
        theirs = [models.efficientnet_b0(), models.mobilenet_v2()]
        ours = [b0.network(b0.architecture([0] * 16)), mobilenetv2.network(mobilenetv2.architecture([0] * 17))]
    for mine, torchvisions in zip(ours, theirs, strict=True):
        shapes = [sorted(tuple(tensor.shape) for tensor in network.parameters()) for network in (mine, torchvisions)]
        assert shapes[0] == shapes[1]


def test_mobile_net_v2_has_torchvisions_output() -> None:
    """The tensors of both have the same order, so that one loads the other's."""
    space = search_spaces.load("mobilenetv2", resolution=64, num_classes=10)
    ours = space.network(space.architecture([0] * 17)).eval()
    theirs = models.mobilenet_v2(num_classes=10).eval()
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours(images), theirs(images), atol=1e-5, rtol=1e-5)


def test_resnet20_by_hand() -> None:
    """Sum convolutions, batch norms and classifier; its shortcuts have no weights."""
    space = search_spaces.load("resnet20")
    stem, first = 9 * 3 * 16, 6 * 9 * 16 * 16
    second, third = 9 * 16 * 32 + 5 * 9 * 32 * 32, 9 * 32 * 64 + 5 * 9 * 64 * 64
    norms = 2 * (7 * 16 + 6 * 32 + 6 * 64)
    params = stem + first + second + third + norms + 65 * 10
    macs = 1024 * (stem + first) + 256 * second + 64 * third + 64 * 10
    assert (macs, params) == (40_551_040, 269_722)
    assert macs_and_params(space, space.architecture([0] * 9)) == (macs, params)
