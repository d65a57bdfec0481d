"""Elastic spaces: one path is the stand-alone network, a mixture of one architecture is its path."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import search_spaces
from search_spaces import Architecture, UserError
from search_spaces.elastic.layers import ElasticConv, ElasticNorm
from search_spaces.elastic.space import ElasticSpace
from search_spaces.elastic.split_attention import SplitAttention
from search_spaces.elastic.supernet import ElasticBlock, ElasticMBConv
from tests.support.small_spaces import images_for, one_hot, small_elastic_space, wake

SMALL: dict[str, Any] = {"width": 0.25, "resolution": 32, "num_classes": 5}
NAMES = ["fbnetv2-f", "fbnetv2-f-fine", "fbnetv2-f++", "fp-nas-l0"]


def elastic_space(name: str, **settings: Any) -> ElasticSpace:
    space = search_spaces.load(name, **{**SMALL, **settings})
    assert isinstance(space, ElasticSpace)
    return space


@pytest.fixture(params=NAMES)
def space(request: pytest.FixtureRequest) -> ElasticSpace:
    return elastic_space(request.param)


def architectures(space: ElasticSpace, seed: int, count: int = 3) -> list[Architecture]:
    """Draw architectures; the first has no skipped groups."""
    generator = np.random.default_rng(seed)
    drawn = [space.sample(generator) for _ in range(count)]
    deep = [
        max(index, 1) if choice.name.endswith("kernel") else index
        for choice, index in zip(space.choices, drawn[0].indices, strict=True)
    ]
    return [space.architecture(deep), *drawn[1:]]


@pytest.mark.parametrize("training", [True, False])
def test_path_and_network_with_its_weights_give_the_same(space: ElasticSpace, training: bool) -> None:
    torch.manual_seed(0)
    supernet = space.supernet().to(memory_format=torch.channels_last)
    wake(supernet)
    supernet.train(training)
    images = images_for(space)
    for architecture in architectures(space, 0):
        network = space.network(architecture).train(training)
        network.load_state_dict(space.network_state(architecture, supernet.state_dict()))
        network.to(memory_format=torch.channels_last)
        torch.testing.assert_close(supernet(images, architecture), network(images), atol=1e-5, rtol=1e-5)
        moved = space.network_state(architecture, supernet.state_dict())
        for name, tensor in network.state_dict().items():
            torch.testing.assert_close(moved[name], tensor, atol=1e-5, rtol=1e-5)


def test_a_mixture_of_one_architecture_is_its_path(space: ElasticSpace) -> None:
    torch.manual_seed(1)
    supernet = space.supernet().eval()
    wake(supernet)
    images = images_for(space)
    for architecture in architectures(space, 1):
        mixed = supernet.mixed(images, one_hot(space, architecture))
        torch.testing.assert_close(mixed, supernet(images, architecture), atol=1e-4, rtol=1e-4)


def test_a_mixture_of_activations_kernels_and_attention_is_their_weighted_sum() -> None:
    """Compute by hand the block of one row, with a mixture of kernels 0 and 3, and of attention."""
    space = elastic_space("fbnetv2-f", stage_strides=[1] * 10)
    first = {choice.name: [choice.options[1 if choice.name.endswith("kernel") else 0]] for choice in space.choices}
    space = space.restrict({**first, "row3.kernel": ["k0", "k3"], "row3.attention": ["se0", "se1"]})
    supernet = space.supernet().eval()
    wake(supernet)
    weights = one_hot(space, space.architecture([kept[0] for kept in space.surviving]))
    kernel, attention = ([choice.name for choice in space.choices].index(f"row3.{v}") for v in ("kernel", "attention"))
    weights[kernel, :2] = torch.tensor([0.3, 0.7])
    weights[attention, :2] = torch.tensor([0.4, 0.6])
    block = supernet._blocks()[2][0]
    features = torch.randn(2, 4, 8, 8)
    taken = [block.group.take([k, 0, a, 0, 0]) for k, a in ((0, 0), (1, 0), (1, 1))]
    skip, plain, squeezed = (block(features, variables) for variables in taken)
    mix = [row[list(kept)] for row, kept in zip(weights[10:15], space.surviving[10:15], strict=True)]
    torch.testing.assert_close(
        block.mixed(features, torch.ones(1), mix), 0.3 * skip + 0.7 * (0.4 * plain + 0.6 * squeezed)
    )


def masked_block() -> tuple[ElasticBlock, ElasticMBConv]:
    """Return a block of stride 2 with 8 input channels, 8 or 24 output channels and 24 or 72 hidden channels."""
    space = small_elastic_space().restrict({"row3.kernel": ["k3"], "row3.activation": ["relu"]})
    supernet = space.supernet().eval()
    wake(supernet)
    block = supernet._blocks()[2][0]
    mbconv = block.mbconv["splits0"]
    assert isinstance(mbconv, ElasticMBConv)
    return block, mbconv


def test_channel_options_are_masks_of_the_widest_block() -> None:
    """FBNetV2: the output is b(x) times the sum of g_i M_i; the hidden channels are masked alike."""
    block, mbconv = masked_block()
    one, channels = torch.ones(1), torch.tensor([0.3, 0.7])
    features = torch.randn(2, 16, 6, 6)
    mixed = block.mixed(features, torch.tensor([0.0, 1.0]), [one, one, torch.tensor([1.0, 0.0]), one, channels])
    assert mbconv.expand is not None
    hidden = mbconv.depthwise["k3"](mbconv.expand(features).relu()).relu()
    hidden_mask = torch.cat([torch.ones(24), torch.full((48,), 0.7)])[:, None, None]
    output_mask = torch.cat([torch.ones(8), torch.full((16,), 0.7)])[:, None, None]
    torch.testing.assert_close(mixed, output_mask * mbconv.project(hidden * hidden_mask))


def test_kernels_and_attention_share_a_mixtures_hidden_channels() -> None:
    """The expand convolution runs once in every mixture, for all kernels and for both options of attention."""
    space = elastic_space("fbnetv2-f")
    supernet = space.supernet().train()
    weights = torch.stack([torch.full((10,), 1 / len(choice.options)) for choice in space.choices])
    supernet.mixed(images_for(space), weights)
    mbconv = supernet._blocks()[2][0].mbconv["splits1"]
    assert isinstance(mbconv, ElasticMBConv)
    assert mbconv.expand is not None
    assert mbconv.expand.norm.num_batches_tracked == 1
    for kernel in ("k3", "k5"):
        assert mbconv.depthwise[kernel].get_submodule("1").num_batches_tracked == 1
    assert mbconv.project.norm.num_batches_tracked == 4


def test_gradients_reach_every_weight_of_a_mixture() -> None:
    space = elastic_space("fbnetv2-f++")
    supernet = space.supernet()
    wake(supernet)
    supernet.eval()
    weights = torch.stack([torch.full((10,), 1 / len(choice.options)) for choice in space.choices]).requires_grad_()
    torch.autograd.backward(supernet.mixed(images_for(space), weights).square().sum())
    assert weights.grad is not None
    for row, choice in zip(weights.grad, space.choices, strict=True):
        assert (row[: len(choice.options)] != 0).any()
        assert (row[len(choice.options) :] == 0).all()


def test_gates_multiply_each_block_by_its_groups_product() -> None:
    space = elastic_space("fbnetv2-f")
    supernet = space.supernet().eval()
    wake(supernet)
    architecture = architectures(space, 2)[0]
    gates = torch.linspace(0.7, 1.3, 50, requires_grad=True)
    features = supernet.stem(images_for(space))
    for number, (blocks, taken) in enumerate(zip(supernet._blocks(), supernet._taken(architecture), strict=True)):
        for block in blocks:
            features = block(features, taken) * gates[5 * number : 5 * number + 5].prod()
    output = supernet(images_for(space), architecture, gates)
    torch.testing.assert_close(output, supernet.head(features))
    output.square().sum().backward()
    assert gates.grad is not None
    assert (gates.grad != 0).all()


def test_only_the_path_gets_gradients_and_path_modules_are_the_path(space: ElasticSpace) -> None:
    supernet = space.supernet()
    wake(supernet)
    for architecture in architectures(space, 3):
        supernet.zero_grad()
        supernet(images_for(space), architecture).sum().backward()
        touched = {name for name, parameter in supernet.named_parameters() if parameter.grad is not None}
        path = {id(parameter) for module in supernet.path_modules(architecture) for parameter in module.parameters()}
        assert touched == {name for name, parameter in supernet.named_parameters() if id(parameter) in path}


def test_statistics_of_a_path_are_recalibrated_as_those_of_its_network(space: ElasticSpace) -> None:
    """Compute the running mean over batches, from a reset, with `momentum=None`, as evaluation does."""
    torch.manual_seed(2)
    supernet = space.supernet().eval()
    wake(supernet)
    architecture = architectures(space, 4)[0]
    network = space.network(architecture).eval()
    network.load_state_dict(space.network_state(architecture, supernet.state_dict()))
    batches = images_for(space, 12).chunk(3)
    for modules in (supernet.path_modules(architecture), [network]):
        for norm in (norm for module in modules for norm in module.modules() if isinstance(norm, nn.BatchNorm2d)):
            norm.reset_running_stats()
            norm.momentum = None
            norm.train()
    for batch in batches:
        supernet(batch, architecture)
        network(batch)
    torch.testing.assert_close(
        supernet.eval()(batches[0], architecture), network.eval()(batches[0]), atol=1e-5, rtol=1e-5
    )


def test_a_pruned_supernet_loads_its_part_of_the_parents_weights(space: ElasticSpace) -> None:
    torch.manual_seed(3)
    whole = space.supernet().eval()
    wake(whole)
    parent = whole.state_dict()
    kept = {choice.name: choice.options[:2] for choice in space.choices[2:]}
    pruned = space.restrict(kept)
    supernet = pruned.supernet()
    assert supernet.state_dict().keys() < parent.keys() or space.name in NAMES[:2]
    assert sum(p.numel() for p in supernet.parameters()) < 0.8 * sum(p.numel() for p in whole.parameters())
    supernet.load_state_dict({name: parent[name] for name in supernet.state_dict()})
    architecture = architectures(pruned, 5)[0]
    torch.testing.assert_close(supernet.eval()(images_for(space), architecture), whole(images_for(space), architecture))


def test_the_supernet_of_one_architecture_is_as_wide_as_its_network(space: ElasticSpace) -> None:
    architecture = architectures(space, 6)[0]
    alone, network = space.only(architecture).supernet(), space.network(architecture)
    assert sum(p.numel() for p in alone.parameters()) == sum(p.numel() for p in network.parameters())
    state = space.network_state(architecture, alone.state_dict())
    network.load_state_dict(state)
    assert {tensor.data_ptr() for tensor in state.values()} <= {t.data_ptr() for t in alone.state_dict().values()}


def test_a_pruned_option_is_refused() -> None:
    space = elastic_space("fbnetv2-f").restrict({"row2.kernel": ["k3"]})
    architecture = elastic_space("fbnetv2-f").architecture([0] * 50)
    with pytest.raises(UserError, match=r"no k0 in row2\.kernel; it has k3"):
        space.supernet()(images_for(space), architecture)


def test_shared_weights_and_state_keys() -> None:
    names = elastic_space("fbnetv2-f++").supernet().state_dict()
    assert "stem.0.weight" in names
    assert "head.classifier.bias" in names
    row = {name.removeprefix("blocks.row3-2.") for name in names if name.startswith("blocks.row3-2.")}
    assert {name.split(".")[1] for name in row} == {"splits0", "splits1", "splits2", "splits4"}
    assert not any(name.startswith("mbconv.splits0.attention") for name in row)
    weights = {name for name in row if name.startswith("mbconv.splits2") and name.endswith("weight")}
    assert weights == {
        f"mbconv.splits2.{part}.weight"
        for part in (
            *(f"{layer}.{norm}" for layer in ("expand", "depthwise.k3", "depthwise.k5", "project") for norm in (0, 1)),
            "attention.squeeze",
            "attention.excite",
        )
    }
    assert "blocks.row3-1.skip.0.weight" in names
    assert "blocks.row3-2.skip.0.weight" not in names
    assert "blocks.block17-1.mbconv.splits1.project.0.weight" in elastic_space("fbnetv2-f-fine").supernet().state_dict()


def test_each_number_of_splits_has_its_own_weights() -> None:
    """FP-NAS section 4: the weights "will double". That holds for the sets of weights, four beside two.

    The sets of 2 and 4 splits are larger, so the weights of blocks grow 3.2 times. They are 4.8 times those of
    FBNetV2-F, which shares one set between blocks with and without squeeze-and-excitation.
    """
    with torch.device("meta"):
        counts = {name: block_weights(name) for name in ("fbnetv2-f", "fbnetv2-f++")}
    plus, shared = counts["fbnetv2-f++"], counts["fbnetv2-f"]["splits1"]
    assert set(plus) == {"splits0", "splits1", "splits2", "splits4"}
    assert plus["splits1"] == shared
    assert sum(plus.values()) / (plus["splits0"] + plus["splits1"]) == pytest.approx(3.19, abs=0.01)
    assert sum(plus.values()) / shared == pytest.approx(4.77, abs=0.01)


def block_weights(name: str) -> dict[str, int]:
    """Return the number of weights in the blocks of a supernet, by the name of the splits."""
    counts: dict[str, int] = {}
    for key, weight in search_spaces.load(name).supernet().named_parameters():
        if ".mbconv." in key:
            splits = key.split(".mbconv.")[1].split(".")[0]
            counts[splits] = counts.get(splits, 0) + weight.numel()
    return counts


def test_channels_last_stays_channels_last() -> None:
    space = elastic_space("fbnetv2-f++")
    supernet = space.supernet().to(memory_format=torch.channels_last)
    architecture = architectures(space, 7)[0]
    features = supernet.stem(images_for(space))
    for blocks, taken in zip(supernet._blocks(), supernet._taken(architecture), strict=True):
        for block in blocks:
            features = block(features, taken)
            assert features.is_contiguous(memory_format=torch.channels_last)


def test_one_split_is_torchvisions_squeeze_and_excitation() -> None:
    from torchvision.ops import SqueezeExcitation

    ours, theirs = SplitAttention(12, 1), SqueezeExcitation(12, 3)
    theirs.load_state_dict(
        {
            f"{name}.{kind}": getattr(layer, kind)
            for name, layer in (("fc1", ours.squeeze), ("fc2", ours.excite))
            for kind in ("weight", "bias")
        }
    )
    features = torch.randn(2, 12, 5, 5)
    torch.testing.assert_close(ours(features), theirs(features))


def test_splits_are_weighed_against_each_other() -> None:
    """Equal scores give the mean of a channel's splits; a large bias picks one split."""
    attention = SplitAttention(3, 2)
    for parameter in attention.parameters():
        nn.init.zeros_(parameter)
    features = torch.randn(2, 6, 4, 4)
    torch.testing.assert_close(attention(features), (features[:, 0::2] + features[:, 1::2]) / 2)
    assert attention.excite.bias is not None
    with torch.no_grad():
        attention.excite.bias[1::2] = 100
    torch.testing.assert_close(attention(features), features[:, 1::2])


def test_elastic_layers_use_and_update_only_their_first_channels() -> None:
    conv, norm = ElasticConv(6, 8, 1, bias=False), ElasticNorm(8)
    features = torch.randn(4, 3, 5, 5)
    output = norm(conv(features, 2))
    expected = torch.einsum("oi,nihw->nohw", conv.weight[:2, :3, 0, 0], features)
    assert norm.running_mean is not None
    torch.testing.assert_close(norm.running_mean[:2], 0.1 * expected.mean(dim=(0, 2, 3)))
    assert (norm.running_mean[2:] == 0).all()
    torch.testing.assert_close(output, nn.functional.batch_norm(expected, None, None, training=True))
