"""Small spaces for several tests, supernets without initial symmetries, and counts by torch."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import search_spaces
from search_spaces import Architecture, SearchSpace
from search_spaces.cell.space import CellSpace
from search_spaces.elastic.space import ElasticFamily, ElasticSpace, Row
from search_spaces.supernet import Supernet

_Supernet = TypeVar("_Supernet", bound=Supernet, covariant=True)


def cells(name: str, settings: dict[str, Any]) -> CellSpace:
    """Load a cell space."""
    space = search_spaces.load(name, **settings)
    assert isinstance(space, CellSpace)
    return space


def small_elastic_space() -> ElasticSpace:
    """Build a space of three rows and 5,184 architectures, in which a block's cost depends on its input channels."""
    rows = (
        Row(channels=(8, 8, 4), repeats=1, stride=1, expansion=(1, 1, 1)),
        Row(channels=(8, 16, 8), repeats=2, stride=1, expansion=(0.75, 1.5, 0.75)),
        Row(channels=(8, 24, 16), repeats=1, stride=2, expansion=(3, 3, 1)),
    )
    family = ElasticFamily(name="tiny", paper="", rows=rows, attention=("s0", "s2"), resolution=32, num_classes=3)
    return family(stem_channels=8, head_channels=16)


class _HasSupernet(Protocol[_Supernet]):
    def supernet(self) -> _Supernet: ...


def awake(space: _HasSupernet[_Supernet]) -> _Supernet:
    """Build a supernet in which every block changes the output, with statistics that differ by channel."""
    torch.manual_seed(0)
    supernet = space.supernet()
    for module in supernet.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = 0.2 * torch.randn(module.num_features)
            module.running_var = 0.5 + torch.rand(module.num_features)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0.0, 0.2)
    return supernet.to(memory_format=torch.channels_last)


def wake(model: nn.Module) -> None:
    """Let every block change the output: initially residual blocks are the identity, and statistics are equal."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
            for statistic, low, high in ((module.running_mean, -0.2, 0.2), (module.running_var, 0.5, 1.5)):
                assert statistic is not None
                nn.init.uniform_(statistic, low, high)


def images_for(space: SearchSpace, count: int = 4) -> Tensor:
    """Return random images in the space's resolution."""
    images = torch.randn(count, 3, space.resolution, space.resolution, generator=torch.Generator().manual_seed(5))
    return images.to(memory_format=torch.channels_last)


def one_hot(space: SearchSpace, architecture: Architecture) -> Tensor:
    """Return the weights of a mixture with one architecture: 1 for each option that it takes."""
    weights = torch.zeros(len(space.choices), max(len(choice.options) for choice in space.choices))
    for row, choice, value in zip(weights, space.choices, architecture.indices, strict=True):
        row[list(choice.taken(value))] = 1
    return weights


def torch_counts(space: SearchSpace, architecture: Architecture) -> tuple[int, int]:
    """Return torch's multiply-adds and parameters of the network, built without memory."""
    with torch.device("meta"):
        network = space.network(architecture).eval()
        images = torch.empty(1, 3, space.resolution, space.resolution)
    with FlopCounterMode(display=False) as counter:
        assert network(images).shape == (1, space.num_classes)
    return counter.get_total_flops() // 2, sum(parameter.numel() for parameter in network.parameters())
