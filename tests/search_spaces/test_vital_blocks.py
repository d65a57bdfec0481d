"""Vital choices from the graph agree with the Type column of HourNAS's tables."""

import json
from pathlib import Path

import pytest

import search_spaces
from search_spaces.chain.space import ChainFamily, Stage
from search_spaces.vital_blocks import INPUT, OUTPUT, Link, vital

FIRST_LAYERS = [f"stage{number}.1" for number in range(1, 8)]

# FBNet's first layer keeps 16 channels at stride 1, so that its shortcut bypasses it; others reduce 32 to 16
VITAL = {
    "fbnet": FIRST_LAYERS[1:],
    "fbnet-enlarged": FIRST_LAYERS[1:],
    "mnasnet": FIRST_LAYERS,
    "mnasnet-a1": FIRST_LAYERS,
    "efficientnet": FIRST_LAYERS,
    "efficientnet-max": FIRST_LAYERS,
    "mobilenetv2": FIRST_LAYERS,
    "mobilenetv3": FIRST_LAYERS,
    "proxylessnas": FIRST_LAYERS,
    "nas-bench-macro": ["stage1.1", "stage2.1", "stage3.1"],
    "resnet20": [],
}


@pytest.mark.parametrize("name", VITAL)
def test_blocks_that_change_the_shape_are_vital(name: str) -> None:
    assert [choice.name for choice in search_spaces.load(name).vital()] == VITAL[name]


@pytest.mark.parametrize(
    ("table", "name"),
    [(7, "mobilenetv2"), (9, "fbnet"), (11, "fbnet-enlarged"), (13, "mnasnet"), (15, "efficientnet")],
)
def test_the_vital_column_of_hour_nas_tables(shared: Path, table: int, name: str) -> None:
    rows = json.loads((shared / "reference/published.json").read_text())["HourNAS"]["architectures"][f"table{table}"]
    for layers in rows.values():
        column = [f"stage{layer['layer'].replace('_', '.')}" for layer in layers if layer["type"] == "Vital"]
        if table == 11:  # table 11 says Vital, but tables 6 and 9 say Non-Vital, and HourNAS-C skips the layer
            column.remove("stage1.1")
        assert [choice.name for choice in search_spaces.load(name).vital()] == column


def test_settings_that_change_shapes_change_the_vital_choices() -> None:
    space = search_spaces.load("mnasnet", stem_channels=16, stage_strides=[1, 2, 2, 2, 1, 2, 1])
    assert [choice.name for choice in space.vital()] == FIRST_LAYERS[1:]
    space = search_spaces.load("fbnet", stage_strides=[2, 2, 2, 2, 1, 2, 1])
    assert [choice.name for choice in space.vital()] == FIRST_LAYERS
    space = search_spaces.load("fbnet", stage_channels=[16, 16, 32, 64, 64, 184, 352], stage_strides=[1] * 7)
    assert [choice.name for choice in space.vital()] == ["stage3.1", "stage4.1", "stage6.1", "stage7.1"]


def test_a_choice_is_not_vital_if_each_option_has_a_shortcut() -> None:
    family = ChainFamily(
        name="mixed",
        stages=(Stage(channels=16, repeats=2, stride=2, first=("basic3", "k3e3")),),
        stem_channels=8,
        stem_stride=1,
        resolution=16,
        num_classes=3,
    )
    assert [choice.name for choice in family().vital()] == ["stage1.1"]
    assert family().restrict({"stage1.1": ["basic3"]}).vital() == []


def test_vital_choices_of_a_graph_by_hand() -> None:
    """Choice 0 leads to two alternatives that meet again: 1 beside 2, and 3 beside a bypass."""
    links = [
        *(Link(INPUT, "a", 0), Link("a", "b", 1), Link("a", "b", 2), Link("b", "c", 3), Link("b", "c")),
        *(Link("c", "d", 4), Link("d", OUTPUT)),
    ]
    assert vital(links) == [0, 4]
