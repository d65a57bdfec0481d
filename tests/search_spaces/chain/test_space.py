"""Chain supernets: one path is the sub-network, a mixture is the sum, and pruning keeps the weights' names."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import search_spaces
from search_spaces import UserError
from search_spaces.chain.space import ChainFamily, ChainSpace, Stage
from search_spaces.chain.supernet import ChainSupernet
from tests.support.small_spaces import images_for, one_hot, torch_counts, wake

SMALL: dict[str, dict[str, Any]] = {
    "efficientnet": {"width": 0.25, "resolution": 32},
    "fbnet": {"width": 0.5, "resolution": 32},
    "fbnet-enlarged": {"width": 0.5, "resolution": 32},
    "mnasnet": {"width": 0.25, "resolution": 32},
    "mobilenetv3": {"width": 0.25, "resolution": 32},
    "nas-bench-macro": {"width": 0.25, "resolution": 16},
    "proxylessnas": {"width": 0.25, "resolution": 32},
    "proxylessnas-large": {"width": 0.25, "resolution": 32},
}


def chain(name: str, **settings: Any) -> ChainSpace:
    space = search_spaces.load(name, **settings)
    assert isinstance(space, ChainSpace)
    return space


FIXED: dict[str, dict[str, Any]] = {
    "efficientnet-max": {"width": 0.25, "resolution": 32},
    "mnasnet-a1": {"width": 0.25, "resolution": 32},
    "mobilenetv2": {"width": 0.25, "resolution": 32},
    "resnet20": {"width": 0.5, "resolution": 16},
}


@pytest.fixture(params=["fbnet", "mobilenetv3", "nas-bench-macro", "proxylessnas"])
def space(request: pytest.FixtureRequest) -> ChainSpace:
    return chain(request.param, **SMALL[request.param])


@pytest.mark.parametrize("name", sorted(SMALL | FIXED))
def test_path_and_network_with_its_weights_give_the_same(name: str) -> None:
    space = chain(name, **(SMALL | FIXED)[name])
    torch.manual_seed(0)
    supernet = space.supernet(num_classes=5).to(memory_format=torch.channels_last)
    wake(supernet)
    images = images_for(space)
    generator = np.random.default_rng(0)
    for training in (True, True, False):
        supernet.train(training)
        architecture = space.sample(generator)
        network = space.network(architecture, num_classes=5).train(training)
        network.load_state_dict(space.network_state(architecture, supernet.state_dict()))
        expected = network.to(memory_format=torch.channels_last)(images)
        torch.testing.assert_close(supernet(images, architecture), expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(supernet.mixed(images, one_hot(space, architecture)), expected, atol=1e-5, rtol=1e-5)
        features = images
        for module in supernet.path_modules(architecture):
            features = module(features)
        torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-5)


class Mixture(nn.Module):
    """Runs every surviving block of a supernet once, under its name."""

    def __init__(self, supernet: ChainSupernet) -> None:
        super().__init__()
        self.supernet = supernet

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        choices = self.supernet.choices
        return self.supernet.mixed(images, torch.ones(len(choices), max(len(choice.options) for choice in choices)))


@pytest.mark.parametrize("name", sorted(SMALL | FIXED))
def test_100_architectures_cost_what_torch_counts_of_their_blocks(name: str) -> None:
    space = chain(name, **(SMALL | FIXED)[name], num_classes=7)
    supernet = space.supernet().eval()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        Mixture(supernet)(torch.zeros(1, 3, space.resolution, space.resolution))
    macs = {name: sum(by_operator.values()) // 2 for name, by_operator in counter.get_flop_counts().items()}

    def counted(*names: str) -> int:
        return sum(macs.get(f"Mixture.supernet.{name}", 0) for name in names)

    generator = np.random.default_rng(0)
    architectures = [space.sample(generator) for _ in range(100)]
    cost = space.costs().cost(architectures)
    for architecture, total, params in zip(architectures, cost["macs"], cost["params"], strict=True):
        taken = [choice.options[option] for choice, option in zip(space.choices, architecture.indices, strict=True)]
        blocks = [f"blocks.{choice.key}.{option}" for choice, option in zip(space.choices, taken, strict=True)]
        assert total == counted("stem", *blocks, "head")
        modules = supernet.path_modules(architecture)
        assert params == sum(parameter.numel() for module in modules for parameter in module.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SMALL))
def test_100_networks_cost_what_torch_counts(name: str) -> None:
    space = chain(name, **SMALL[name], num_classes=7)
    generator = np.random.default_rng(1)
    architectures = [space.sample(generator) for _ in range(100)]
    cost = space.costs().cost(architectures)
    for architecture, macs, params in zip(architectures, cost["macs"], cost["params"], strict=True):
        assert torch_counts(space, architecture) == (int(macs), int(params))


@pytest.mark.parametrize("name", ["efficientnet-max", "fbnet", "mobilenetv3", "resnet20"])
def test_a_network_of_full_size_costs_what_torch_counts(name: str) -> None:
    space = chain(name)
    architecture = space.sample(np.random.default_rng(2))
    cost = space.costs().cost([architecture])
    assert torch_counts(space, architecture) == (cost["macs"].item(), cost["params"].item())


def test_a_supernet_holds_only_the_surviving_options(space: ChainSpace) -> None:
    half = space.restrict({choice.name: choice.options[: (len(choice.options) + 1) // 2] for choice in space.choices})
    costs = half.costs()
    rows = zip(costs.table["params"], half.surviving, strict=True)
    expected = costs.fixed["params"] + sum(row[list(kept)].sum().item() for row, kept in rows)
    assert sum(parameter.numel() for parameter in half.supernet().parameters()) == expected


def test_only_the_sampled_path_gets_gradients(space: ChainSpace) -> None:
    supernet = space.supernet()
    architecture = space.sample(np.random.default_rng(1))
    supernet(images_for(space), architecture).sum().backward()
    touched = {name for name, parameter in supernet.named_parameters() if parameter.grad is not None}
    path = {id(parameter) for module in supernet.path_modules(architecture) for parameter in module.parameters()}
    assert touched == {name for name, parameter in supernet.named_parameters() if id(parameter) in path}


def test_gates_multiply_each_choice_and_get_its_gradient(space: ChainSpace) -> None:
    supernet = space.supernet().eval()
    wake(supernet)
    architecture = space.sample(np.random.default_rng(1))
    gates = torch.linspace(0.5, 1.5, len(space.choices), requires_grad=True)
    features = supernet.stem(images_for(space))
    for position, option in enumerate(architecture.indices):
        features = supernet.block(position, option)(features) * gates[position]
    output = supernet(images_for(space), architecture, gates)
    torch.testing.assert_close(output, supernet.head(features))
    output.square().sum().backward()
    assert gates.grad is not None
    assert (gates.grad != 0).all()


def test_a_mixture_is_the_weighted_sum_of_the_surviving_options() -> None:
    space = chain("nas-bench-macro", **SMALL["nas-bench-macro"])
    first = {choice.name: [choice.options[0]] for choice in space.choices}
    space = space.restrict(first | {"stage1.1": ["skip", "k5e6"]})
    supernet = space.supernet().eval()
    images = images_for(space)
    weights = torch.zeros(8, 3)
    weights[0] = torch.tensor([0.3, 100.0, 0.7])
    weights[1:, 0] = 1
    stem = supernet.stem(images)
    features = 0.3 * supernet.block(0, 0)(stem) + 0.7 * supernet.block(0, 2)(stem)
    for position in range(1, 8):
        features = supernet.block(position, 0)(features)
    torch.testing.assert_close(supernet.mixed(images, weights), supernet.head(features))


def test_a_pruned_supernet_loads_its_part_of_the_parents_weights(space: ChainSpace) -> None:
    whole = space.supernet().eval()
    wake(whole)
    parent = whole.state_dict()
    kept = {choice.name: choice.options[-2:] for choice in space.choices[1:]}
    pruned = space.restrict(kept)
    supernet = pruned.supernet()
    assert supernet.state_dict().keys() < parent.keys()
    supernet.load_state_dict({name: parent[name] for name in supernet.state_dict()})
    architecture = pruned.sample(np.random.default_rng(2))
    torch.testing.assert_close(supernet.eval()(images_for(space), architecture), whole(images_for(space), architecture))


def test_state_keys_are_readable() -> None:
    space = chain("proxylessnas", **SMALL["proxylessnas"])
    names = space.supernet().state_dict()
    assert "stem.0.weight" in names
    assert "blocks.stage3-1.k3e6.expand.0.weight" in names
    assert "head.classifier.bias" in names
    network = space.network(space.architecture([0] * 22)).state_dict()
    assert "blocks.stage3-1.expand.0.weight" in network


def test_a_pruned_option_is_not_built_and_says_so() -> None:
    space = chain("nas-bench-macro", **SMALL["nas-bench-macro"]).restrict({"stage1.1": ["k3e3"]})
    supernet = space.supernet()
    with pytest.raises(UserError, match=r"no skip in stage1\.1; it has k3e3"):
        supernet.block(0, 0)


def test_initialisation_follows_torchs_seed() -> None:
    space = chain("nas-bench-macro", **SMALL["nas-bench-macro"])
    states = []
    for _ in range(2):
        torch.manual_seed(11)
        states.append(space.supernet().state_dict())
    for name, tensor in states[0].items():
        torch.testing.assert_close(tensor, states[1][name], atol=0, rtol=0)
    project = chain("nas-bench-macro").network(space.architecture([2] * 8)).state_dict()
    weight = project["blocks.stage3-2.project.0.weight"]
    assert weight.std().item() == pytest.approx((2 / 256) ** 0.5, rel=0.02)  # kaiming: fan-out is 256 x 1 x 1


def test_channels_last_stays_channels_last() -> None:
    space = chain("proxylessnas", **SMALL["proxylessnas"])
    supernet = space.supernet().to(memory_format=torch.channels_last)
    features = supernet.stem(images_for(space))
    for position, option in enumerate(space.sample(np.random.default_rng(4)).indices):
        features = supernet.block(position, option)(features)
        assert features.is_contiguous(memory_format=torch.channels_last)


def test_width_rounds_channels_to_multiples_of_8() -> None:
    space = chain("proxylessnas", width=0.35, resolution=32)
    convolutions = [m for m in space.network(space.architecture([0] * 22)).modules() if isinstance(m, nn.Conv2d)]
    assert convolutions[0].out_channels == 16  # 32 x 0.35 = 11.2: 8 would be more than 10 % less
    assert convolutions[-1].out_channels == 448
    assert all(convolution.out_channels % 8 == 0 for convolution in convolutions)


def test_strides_and_channels_are_honoured() -> None:
    space = chain(
        "nas-bench-macro", stem_channels=12, stem_stride=2, stage_channels=[20, 28, 36], stage_strides=[1, 3, 1]
    )
    supernet = space.supernet(num_classes=3)
    features = supernet.stem(torch.zeros(1, 3, 32, 32))
    shapes = [tuple(features.shape[1:])]
    for position in range(8):
        features = supernet.block(position, 1)(features)
        shapes.append(tuple(features.shape[1:]))
    assert shapes == [(12, 16, 16)] + 2 * [(20, 16, 16)] + 3 * [(28, 6, 6)] + 3 * [(36, 6, 6)]
    assert supernet.head(features).shape == (1, 3)


def family(**fields: Any) -> ChainFamily:
    """Build a user's family: two stages at 16 x 16, all optional fields left out."""
    stages = (
        Stage(channels=8, repeats=2, stride=1, first=("k3e1", "k3g2", "sep3")),
        Stage(channels=16, repeats=2, stride=2, first=("k3e3", "k5e3se"), rest=("k3e3", "skip")),
    )
    whole: dict[str, Any] = {
        "name": "mine",
        "stages": stages,
        "stem_channels": 8,
        "stem_stride": 1,
        "resolution": 16,
        "num_classes": 3,
    }
    return ChainFamily(**whole | fields)


def test_a_family_by_hand() -> None:
    space = family()()
    assert [choice.name for choice in space.choices] == ["stage1.1", "stage1.2", "stage2.1", "stage2.2"]
    assert [choice.options for choice in space.choices] == [
        *2 * [("k3e1", "k3g2", "sep3")],
        ("k3e3", "k5e3se"),
        ("k3e3", "skip"),
    ]
    assert str(space.architecture([0, 1, 1, 1])) == "mine: k3e1 k3g2 | k5e3se skip"
    architecture = space.architecture([1, 2, 1, 0])
    cost = space.costs().cost([architecture])
    assert torch_counts(space, architecture) == (cost["macs"].item(), cost["params"].item())
    assert list(dict(space.supernet().head.named_children())) == ["pool", "flatten", "classifier"]


def test_stages_can_have_names_and_activations_of_their_own() -> None:
    stages = (
        Stage(name="early", channels=8, repeats=1, stride=1, first=("k3e3",), activation="hard_swish"),
        Stage(name="late", channels=8, repeats=1, stride=1, first=("k3e3",)),
    )
    space = family(stages=stages, activation="silu", linear_features=20)()
    assert [choice.name for choice in space.choices] == ["early.1", "late.1"]
    supernet = space.supernet()
    kinds = [
        {type(part) for part in module.modules()} & {nn.Hardswish, nn.SiLU}
        for module in (supernet.stem, supernet.block(0, 0), supernet.block(1, 0), supernet.head)
    ]
    assert kinds == [{nn.SiLU}, {nn.Hardswish}, {nn.SiLU}, {nn.SiLU}]
    assert "head.linear.weight" in supernet.state_dict()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"first": ("k3e3", "k3s6")}, "'k3s6' is no block"),
        ({"first": ()}, r"late\.1 of mine chooses among nothing; give at least one, each once"),
        ({"first": ("k3e3", "k3e3")}, r"late\.1 of mine chooses among k3e3, k3e3; give at least one, each once"),
        ({"name": "early"}, "mine has two stages called 'early'"),
        ({"channels": 9, "first": ("k3g2",)}, r"late\.1 of mine cannot be k3g2: it needs input and output channels"),
        ({"channels": 4, "first": ("basic3",)}, r"late\.1 of mine cannot be basic3: it only adds channels"),
        ({"activation": "swish"}, "No activation is called 'swish'; the nearest is 'hard_swish'"),
        ({"stride": 32}, "images of 16 pixels are too small"),
    ],
)
def test_stages_that_make_no_space_are_refused(fields: dict[str, Any], message: str) -> None:
    early = Stage(name="early", channels=8, repeats=1, stride=1, first=("k3e3",))
    late: dict[str, Any] = {"name": "late", "channels": 8, "repeats": 1, "stride": 1, "first": ("k3e3",)}
    with pytest.raises(UserError, match=message):
        family(stages=(early, Stage(**late | fields)))()
