"""Spaces that several tests build."""

from __future__ import annotations

from typing import Any

import search_spaces
from search_spaces.cell import CellSpace
from search_spaces.sliced import Row, SlicedFamily, SlicedSpace


def cells(name: str, settings: dict[str, Any]) -> CellSpace:
    space = search_spaces.load(name, **settings)
    assert isinstance(space, CellSpace)
    return space


def sliced() -> SlicedSpace:
    """Three rows with 5,184 architectures in which the channels that arrive matter."""
    rows = (
        Row(channels=(8, 8, 4), repeats=1, stride=1, expansion=(1, 1, 1)),
        Row(channels=(8, 16, 8), repeats=2, stride=1, expansion=(0.75, 1.5, 0.75)),
        Row(channels=(8, 24, 16), repeats=1, stride=2, expansion=(3, 3, 1)),
    )
    family = SlicedFamily(name="tiny", paper="", rows=rows, attention=("s0", "s2"), resolution=32, num_classes=3)
    return family(stem_channels=8, head_channels=16)
