"""A mask resets the output of one block alone: by hand on small networks."""

from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor, nn

import search_spaces
from benchmarks.common.plain_training import top1
from benchmarks.hour_nas.block_importance import (
    PROBABILITIES,
    MaskedBlock,
    mask_blocks,
    plot,
    pool,
    read_standalone,
    rows,
)
from raynas.recipe.recipe import Recipe
from raynas.results.fit_result import write_network
from raynas.storage.run_folder import RunFolder
from search_spaces import Architecture, SearchSpace, UserError

SMALL = {"width": 0.25, "resolution": 16, "num_classes": 4}


def random_network(space: SearchSpace, text: str) -> tuple[SearchSpace, nn.Module]:
    """Return the space of one network, and the network with residual branches that are not zero."""
    torch.manual_seed(0)
    network = space.network(space.parse(text))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return space.only(space.parse(text)), network.eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(64, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_a_full_mask_removes_a_residual_block_and_zeroes_a_vital_block(images: Tensor) -> None:
    macro = search_spaces.load("nas-bench-macro", **SMALL)
    space, network = random_network(macro, "nas-bench-macro: k3e3 k5e6 | k3e3 skip k3e3 | k5e6 skip skip")
    labels = network(images).argmax(dim=1)
    measured = mask_blocks(space, network, images, labels, draws=2, seed=0)
    blocks = {block.name: block for block in measured}
    assert [(name, block.vital) for name, block in blocks.items()] == [
        ("stage1.1", True),
        ("stage1.2", False),
        ("stage2.1", True),
        ("stage2.3", False),
        ("stage3.1", True),
    ]
    without = macro.parse("nas-bench-macro: k3e3 skip | k3e3 skip k3e3 | k5e6 skip skip")
    shorter = network_without_blocks(macro, network, without)
    assert blocks["stage1.2"].top1[1.0] == [top1(shorter(images), labels)]
    body, head = network.get_submodule("blocks"), network.get_submodule("head")
    last = list(body.children())[5]
    zeros = torch.zeros_like(last(torch.randn(64, 32, 4, 4)))
    assert blocks["stage3.1"].top1[1.0] == [top1(head(zeros), labels)]


def network_without_blocks(space: SearchSpace, network: nn.Module, architecture: Architecture) -> nn.Module:
    """Return the network of an architecture that lacks some blocks of another network, with that network's weights."""
    smaller = space.network(architecture)
    names = smaller.state_dict().keys()
    smaller.load_state_dict({name: tensor for name, tensor in network.state_dict().items() if name in names})
    return smaller.eval()


@torch.no_grad()
def test_a_mask_leaves_a_padded_shortcut_and_the_network_unchanged(images: Tensor) -> None:
    space, network = random_network(
        search_spaces.load("resnet20", **SMALL), "resnet20: " + " | ".join(3 * [" ".join(3 * ["basic3"])])
    )
    before = network(images)
    labels = before.argmax(dim=1)
    blocks = mask_blocks(space, network, images, labels, draws=3, seed=0)
    assert torch.equal(network(images), before)
    assert not any(block.vital for block in blocks)
    last = list(network.get_submodule("blocks").children())[-1]
    norm = last.get_submodule("second.1")
    assert isinstance(norm, nn.BatchNorm2d)
    nn.init.zeros_(norm.weight)
    nn.init.zeros_(norm.bias)
    assert blocks[-1].top1[1.0] == [top1(network(images), labels)]
    assert [len(blocks[0].top1[p]) for p in PROBABILITIES] == [3, 3, 1]


def test_means_of_each_kind_of_block_by_hand() -> None:
    measured = [
        MaskedBlock("a", True, {0.3: [50.0, 70.0], 0.6: [40.0, 40.0], 1.0: [10.0]}),
        MaskedBlock("b", True, {0.3: [80.0, 80.0], 0.6: [20.0, 40.0], 1.0: [20.0]}),
        MaskedBlock("c", False, {0.3: [90.0, 92.0], 0.6: [90.0, 90.0], 1.0: [88.0]}),
    ]
    *_, vital, other = rows(measured)
    assert vital == ["mean of 2", "vital", "70.0", "35.0", "15.0"]
    assert other == ["mean of 1", "non-vital", "91.0", "90.0", "88.0"]
    assert len(plot(measured, 95.0).axes[0].patches) == 9


def test_the_masks_of_several_networks_are_pooled() -> None:
    first, second = ([MaskedBlock("a", True, {0.3: [top1, top1 + 1], 1.0: [top1]})] for top1 in (10.0, 20.0))
    assert pool([first, second]) == [MaskedBlock("a", True, {0.3: [10.0, 11.0, 20.0, 21.0], 1.0: [10.0, 20.0]})]


def test_a_folder_without_a_network_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds 0 networks"):
        read_standalone(str(tmp_path))


@torch.no_grad()
def test_a_network_of_raynas_fit_is_read_with_its_weights_and_images(tmp_path: Path) -> None:
    recipe = Recipe.read({"method": "fit", "space": {"name": "nas-bench-macro", "width": 0.125, "resolution": 16}})
    whole = search_spaces.load("nas-bench-macro", width=0.125, resolution=16, num_classes=10)
    path = whole.parse("nas-bench-macro: k3e3 k5e6 | k3e3 skip k3e3 | k5e6 skip skip")
    supernet = whole.only(path).supernet().eval()
    folder = RunFolder(tmp_path)
    folder.write("recipe.yaml", yaml.safe_dump(recipe.json_value()).encode())
    folder.write_tensors("steps/fit-abc/weights.safetensors", supernet.state_dict(), {})
    figures = {"architecture": str(path), "top1": 50.0, "weights": "steps/fit-abc/weights.safetensors"}
    write_network(folder, "fit-abc", figures)
    space, network, images = read_standalone(str(tmp_path))
    assert space.size() == 1
    assert images.prepared.settings.name == "digits"
    inputs = torch.randn(4, 3, 16, 16)
    torch.testing.assert_close(network.eval()(inputs), supernet(inputs, path))
