"""Spaces that several tests build, and supernets of them in which nothing is at rest."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

import torch
from torch import nn

import search_spaces
from search_spaces.cell.space import CellSpace
from search_spaces.elastic.space import ElasticFamily, ElasticSpace, Row
from search_spaces.supernet import Supernet

_Supernet = TypeVar("_Supernet", bound=Supernet, covariant=True)


def cells(name: str, settings: dict[str, Any]) -> CellSpace:
    space = search_spaces.load(name, **settings)
    assert isinstance(space, CellSpace)
    return space


def small_elastic_space() -> ElasticSpace:
    """Three rows with 5,184 architectures in which the channels that arrive matter."""
    rows = (
        Row(channels=(8, 8, 4), repeats=1, stride=1, expansion=(1, 1, 1)),
        Row(channels=(8, 16, 8), repeats=2, stride=1, expansion=(0.75, 1.5, 0.75)),
        Row(channels=(8, 24, 16), repeats=1, stride=2, expansion=(3, 3, 1)),
    )
    family = ElasticFamily(name="tiny", paper="", rows=rows, attention=("s0", "s2"), resolution=32, num_classes=3)
    return family(stem_channels=8, head_channels=16)


class _Makes(Protocol[_Supernet]):
    def supernet(self) -> _Supernet: ...


def awake(space: _Makes[_Supernet]) -> _Supernet:
    """A supernet with every block having a say, and statistics of its own that differ by channel."""
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
