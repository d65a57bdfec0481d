"""Blocks: their text, their function, and their costs, which agree with torch's counter."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from search_spaces import UserError
from search_spaces.chain.blocks import Basic, MBConv, Skip, Style, parse
from search_spaces.latency_table import LatencyKey
from search_spaces.layers.convolutions import ACTIVATION_LAYERS, Residual
from search_spaces.layers.cost import CountingRules
from search_spaces.layers.initialise import initialise
from search_spaces.layers.shapes import Place

RELU6 = Style()
HOURNAS = Style("relu", keep_expand=True)
MOBILENET_V3 = Style("hard_swish", squeeze="expanded")
PLACES = (Place(16, 16, 1, 6), Place(16, 16, 2, 7), Place(16, 24, 1, 6), Place(16, 24, 2, 5))
TEXTS = ("k3e6", "k5e3se", "k3e1", "k3e1se", "k5g2", "k3g2se", "sep3", "basic3", "skip")


def test_blocks_parse_and_print() -> None:
    assert parse("k5e6") == MBConv(kernel=5, expansion=6)
    assert parse("k5e6se") == MBConv(kernel=5, expansion=6, se=True)
    assert parse("k3g2") == MBConv(kernel=3, expansion=1, groups=2)
    assert parse("sep3") == MBConv(kernel=3, expansion=1, separable=True)
    assert parse("basic3") == Basic(kernel=3)
    assert parse("skip") == Skip()
    for text in (*TEXTS, "k7e6", "k11e12", "sep5", "k3g16"):
        assert str(parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "k4e6",
        "k3",
        "e6",
        "k3e0",
        "k03e6",
        "k3g1",
        "k3g0",
        "k3e6g2",
        "sep",
        "sep3se",
        "basic4",
        "skipse",
        "identity",
        "",
    ],
)
def test_other_text_is_no_block(text: str) -> None:
    with pytest.raises(UserError, match=r"is no block\. Write 'k3e6' for an inverted bottleneck"):
        parse(text)


def test_unknown_words_of_a_style_are_refused() -> None:
    with pytest.raises(UserError, match="No activation is called 'relu_6'; the nearest is 'relu6'"):
        Style("relu_6")
    with pytest.raises(UserError, match=r"A squeeze cannot be 'output'; .*there are input, expanded"):
        Style(squeeze="output")


def count_activations(module: nn.Module) -> list[int]:
    """Return a list that collects the number of output elements of each activation function when the module runs."""
    counts: list[int] = []
    for part in module.modules():
        if isinstance(part, (*ACTIVATION_LAYERS.values(), nn.Sigmoid, nn.Hardsigmoid)):
            part.register_forward_hook(lambda _module, _inputs, output: counts.append(output.numel()))
    return counts


@pytest.mark.parametrize("style", [RELU6, HOURNAS, MOBILENET_V3])
@pytest.mark.parametrize("text", TEXTS)
def test_costs_equal_what_torch_counts(text: str, style: Style) -> None:
    block = parse(text)
    for place in PLACES:
        module = block.build(place, style).eval()
        activations = count_activations(module)
        norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
        with FlopCounterMode(display=False) as counter:
            output = module(torch.zeros(1, place.in_channels, place.size, place.size))
        assert output.shape == (1, place.out_channels, place.out_size, place.out_size)
        cost = block.cost(place, style)
        assert cost.macs == counter.get_total_flops() // 2
        assert cost.params == sum(parameter.numel() for parameter in module.parameters())
        assert cost.activations == sum(activations)
        assert cost.norm_params == sum(parameter.numel() for norm in norms for parameter in norm.parameters())


def test_expansion_1_keeps_its_expand_convolution_if_the_family_does() -> None:
    place = Place(16, 24, 1, 8)
    depthwise, project = 9 * 16, 16 * 24
    block = parse("k3e1")
    assert block.cost(place, RELU6).macs == 64 * (depthwise + project)
    assert block.cost(place, HOURNAS).macs == 64 * (16 * 16 + depthwise + project)
    assert parse("sep3").cost(place, HOURNAS) == block.cost(place, RELU6)
    assert [name for name, _ in block.build(place, RELU6).named_children()] == ["depthwise", "project"]
    assert [name for name, _ in block.build(place, HOURNAS).named_children()] == ["expand", "depthwise", "project"]


def test_two_groups_halve_both_1x1_convolutions_but_papers_count_them_dense() -> None:
    place = Place(16, 24, 1, 8)
    cost = parse("k3g2").cost(place, RELU6)
    assert cost.macs == 64 * (16 * 16 // 2 + 9 * 16 + 16 * 24 // 2)
    dense = parse("k3e1").cost(place, replace(RELU6, keep_expand=True))
    counted = CountingRules(dense=True)
    assert (counted.macs(cost), counted.params(cost)) == (dense.macs, dense.params)


def test_two_groups_exchange_their_channels() -> None:
    """Thanks to the shuffle, each output channel depends on all input channels."""
    block = parse("k3g2").build(Place(8, 8, 2, 4), HOURNAS).eval()
    for part in block.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.ones_(part.weight)
    images = torch.ones(1, 8, 4, 4, requires_grad=True)
    block(images)[0, 0].sum().backward()
    assert images.grad is not None
    assert (images.grad.sum(dim=(2, 3)) > 0).all()


def test_squeeze_narrows_to_a_quarter_of_the_input_or_of_the_expanded_channels() -> None:
    place = Place(24, 24, 1, 4)
    by_input: Any = parse("k3e3se").build(place, HOURNAS).squeeze
    assert (by_input.fc1.in_channels, by_input.fc1.out_channels) == (72, 6)
    assert isinstance(by_input.activation, nn.ReLU)
    assert isinstance(by_input.scale_activation, nn.Sigmoid)
    by_expanded: Any = parse("k3e3se").build(place, MOBILENET_V3).squeeze
    assert by_expanded.fc1.out_channels == 24  # 72 / 4 = 18 rounds to 16, more than 10 % below
    assert isinstance(by_expanded.activation, nn.ReLU)
    assert isinstance(by_expanded.scale_activation, nn.Hardsigmoid)


def test_residuals_are_added_if_the_shape_stays() -> None:
    features = torch.randn(2, 8, 6, 6)
    for place, residual in ((Place(8, 8, 1, 6), True), (Place(8, 8, 2, 6), False), (Place(8, 16, 1, 6), False)):
        block = parse("k3e3").build(place, RELU6).eval()
        for parameter in block.get_submodule("project").parameters():
            nn.init.zeros_(parameter)
        output = block(features)
        assert output.shape == (2, place.out_channels, place.out_size, place.out_size)
        assert torch.equal(output, features) if residual else not output.any()


def test_basic_blocks_pad_their_shortcut() -> None:
    features = torch.randn(2, 4, 5, 5)
    block = parse("basic3").build(Place(4, 6, 2, 5), RELU6).eval()
    for parameter in block.get_submodule("second").parameters():
        nn.init.zeros_(parameter)
    output = block(features)
    assert torch.equal(output[:, :4], features[:, :, ::2, ::2].clamp(0, 6))
    assert not output[:, 4:].any()


@pytest.mark.parametrize("text", ["k3e3se", "k3g2", "sep3", "basic3"])
def test_residual_blocks_begin_as_the_identity(text: str) -> None:
    block = parse(text).build(Place(8, 8, 1, 6), Style("relu"))
    assert isinstance(block, Residual)
    initialise(nn.ModuleList([block]))
    features = torch.rand(2, 8, 6, 6)
    assert torch.equal(block(features), features)


def test_channels_last_stays_channels_last() -> None:
    for text in TEXTS:
        for place in PLACES:
            block = parse(text).build(place, RELU6).to(memory_format=torch.channels_last)
            features = torch.randn(2, 16, place.size, place.size).to(memory_format=torch.channels_last)
            assert block(features).is_contiguous(memory_format=torch.channels_last)


def test_blocks_explain_why_a_place_does_not_fit() -> None:
    assert parse("k3g2").misfit(Place(16, 24, 1, 6)) is None
    assert parse("k3g2").misfit(Place(16, 23, 1, 6)) == (
        "needs input and output channels that are multiples of 2, unlike 16 and 23 here"
    )
    assert parse("basic3").misfit(Place(16, 16, 2, 6)) is None
    assert parse("basic3").misfit(Place(16, 8, 1, 6)) == ("only adds channels to its input, but 16 would become 8 here")


def test_blocks_with_different_modules_have_different_latency_keys() -> None:
    place = Place(16, 24, 2, 14)
    assert parse("k5e6se").latency_key(place, RELU6) == LatencyKey("mbconv", 14, 16, 24, 5, 6, 2, se=True)
    assert parse("k3e1").latency_key(place, RELU6) == LatencyKey("mbconv", 14, 16, 24, 3, 1, 2)
    assert parse("sep3").latency_key(place, HOURNAS) == LatencyKey("mbconv", 14, 16, 24, 3, 1, 2)
    assert parse("k3e1").latency_key(place, HOURNAS) == LatencyKey("mbconv-expand", 14, 16, 24, 3, 1, 2)
    assert parse("k3g2").latency_key(place, RELU6) == LatencyKey("mbconv-expand", 14, 16, 24, 3, 1, 2, groups=2)
    assert parse("basic3").latency_key(place, RELU6) == LatencyKey("basic", 14, 16, 24, 3, 0, 2)
    assert parse("skip").latency_key(place, RELU6) == LatencyKey("skip", 14, 16, 24, 1, 0, 2)
    assert parse("skip").latency_key(Place(16, 16, 1, 14), RELU6) is None
