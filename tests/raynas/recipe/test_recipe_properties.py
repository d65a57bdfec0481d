"""Test with random content that a recipe is valid or ends in a UserError of one sentence, and in nothing else."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

import search_spaces
from raynas.recipe.recipe import FREE_KEYS, Recipe
from raynas.storage.difference import difference
from raynas.study.method import method_of_recipe
from raynas.study.run_plan import plan
from search_spaces.errors import UserError

WORDS = st.sampled_from(
    [
        *(
            "name",
            "epochs",
            "max",
            "target",
            "width",
            "path",
            "classes",
            "macs",
            "latency_ms",
            "",
            "x",
            "0",
            "a\nb",
            "é",
        ),
        *("none", "spos", "nas-bench-macro", "darts", "folder", "my.yaml", "my.py", "~nobody/x", "no\0file", "\ud800"),
        *("300M", "1e400", "-1", "nan", "2001-02-30", "x" * 300 + ".yaml"),
    ]
)
NUMBERS = st.integers(-3, 300) | st.floats() | st.sampled_from([0, 1, 2**31, 2**63, 10**30, 1e15, 1e308])
SCALARS = st.none() | st.booleans() | NUMBERS | WORDS | st.text(max_size=6) | st.binary(max_size=3) | st.dates()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | SCALARS, inner, max_size=3),
    max_leaves=6,
)
VALID: list[dict[str, Any]] = [
    {
        "method": {"name": "pad-nas", "stages": 3, "epochs": [2, 1], "learning_rates": [0.1, 0.1], "prune_below": 0.1},
        "space": {"name": "nas-bench-macro", "width": 0.25, "resolution": 16, "stage_strides": [1, 2, 2]},
        "data": {"name": "digits", "fraction": 0.5, "classes": 4, "validation": 0.3, "augment": "crop"},
        "budget": {"macs": {"max": "1M"}, "params": {"target": 50000, "tolerance": 0.5}},
        "training": {"batch_size": 64, "schedule": "cosine", "warmup_epochs": 0.5},
        "search": {"population": 8, "generations": 2},
        "fit": {"epochs": 2, "teacher": {"model": "resnet18", "share": 0.3}},
        "evaluation": {"recalibration_images": 64},
        "scale": {"evaluate": {"actors": 1}},
        "notes": ["small"],
    },
    {
        "method": {"name": "hm-nas"},
        "space": {"name": "darts", "cells": 3, "channels": 4, "operations": ["skip_connect", "sep_conv_3x3"]},
        "data": {"name": "digits"},
        "track": ["mlflow"],
    },
    {
        "method": {"name": "fp-nas", "sample_size": {"per_nat": 0.25}},
        "space": {"name": "fbnetv2-f", "width": 0.25, "resolution": 32, "repeats": [1] * 10, "head_channels": 16},
        "budget": {"macs": {"max": "20M"}},
        "training": {"schedule": "steps", "milestones": [1, 2]},
    },
]


def is_refused(attempt: Callable[[], object]) -> bool:
    """Return whether an attempt ends in a UserError, with a line for each problem; other errors are not caught."""
    refused: list[UserError] = []
    try:
        attempt()
    except UserError as error:
        refused.append(error)
    for refusal in refused:
        assert str(refusal).splitlines() == list(refusal.sentences)
        assert all(refusal.sentences)
    return bool(refused)


def read(source: str | Path | dict[str, Any], changes: list[str] | None = None) -> Recipe | None:
    """Return the recipe, or None if it is refused. A valid recipe must be the same after writing and reading."""
    recipes: list[Recipe] = []
    if is_refused(lambda: recipes.append(Recipe.read(source, changes or []))):
        return None
    (recipe,) = recipes
    is_refused(lambda: method_of_recipe(recipe))
    content = recipe.json_value()
    copy = yaml.safe_load(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    if "nan" not in repr(content):
        assert list(difference(copy, content, FREE_KEYS)) == []
        assert Recipe.read(copy).identity() == recipe.identity()
    return recipe


@st.composite
def mutated(draw: st.DrawFn, whole: dict[str, Any], times: int = 3) -> dict[str, Any]:
    """Draw a mapping with some values replaced, removed or added, at any depth."""
    content = deepcopy(whole)
    for _ in range(draw(st.integers(1, times))):
        mapping: Any = content
        while inner := [key for key in mapping if isinstance(mapping[key], dict)]:
            if draw(st.booleans()):
                break
            mapping = mapping[draw(st.sampled_from(inner))]
        kind = draw(st.sampled_from(["replace", "remove", "add"]))
        if kind == "add" or not mapping:
            mapping[draw(WORDS | SCALARS)] = draw(VALUES)
        elif kind == "replace":
            mapping[draw(st.sampled_from(list(mapping)))] = draw(VALUES)
        else:
            del mapping[draw(st.sampled_from(list(mapping)))]
    return content


@settings(max_examples=150)
@given(st.sampled_from(VALID).flatmap(mutated))
def test_a_changed_recipe_is_valid_or_refused(content: dict[str, Any]) -> None:
    read(content)


@settings(max_examples=50)
@given(st.dictionaries(WORDS | st.sampled_from([*Recipe.model_fields]) | SCALARS, VALUES, max_size=5))
def test_any_mapping_is_valid_or_refused(content: dict[str, Any]) -> None:
    read(content)


TEXTS = st.text(max_size=40) | st.lists(
    st.sampled_from(
        [*"[]{}:,-?!&*|>'\"#%@\n ~", "a", "&a", "*a", "!!int", "!!timestamp", "!!set", "0x", "1e", "<<: ", "method: "]
    )
).map("".join)


@settings(max_examples=80)
@given(TEXTS.map(str.encode) | st.binary(max_size=20))
@example(b"seed: 2001-02-30")
@example(b"seed: !!int x")
@example(b"seed: !!int ''")
@example(b"seed: !!bool x")
@example(b"seed: !!timestamp x")
@example(b"[" * 3000)
@example(b"{method: spos, space: darts, search: &a {x: *a}}")
@example(b'{method: spos, space: darts, notes: ["\\ud800"]}')
@example(b'{method: spos, space: darts, budget: {"a\\nb": 3}}')
def test_any_file_is_valid_or_refused(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        (Path(folder) / "recipe.yaml").write_bytes(content)
        read(Path(folder) / "recipe.yaml")


@settings(max_examples=80)
@given(
    st.sampled_from([".", "", "="]).flatmap(lambda joint: st.lists(WORDS | TEXTS, max_size=4).map(joint.join)), TEXTS
)
@example("seed", "2001-02-30")
@example("a\nb", "[")
@example("space.name", "'a\\nb'")
def test_any_change_is_valid_or_refused(path: str, value: str) -> None:
    before = repr(VALID[0])
    read(VALID[0], [f"{path}={value}"])
    read(VALID[0], [path])
    assert repr(VALID[0]) == before


@pytest.mark.parametrize("name", ["x" * 5000, "no\0name", "\ud800", "", ".", "a\nb"])
def test_a_recipe_of_any_name_is_refused(name: str) -> None:
    assert is_refused(lambda: Recipe.read(name))


def test_a_file_that_cannot_be_read_is_refused() -> None:
    # No user can read this file: the memory of a process has no page at its beginning.
    assert is_refused(lambda: Recipe.read("/proc/self/mem"))


def plan_or_refuse(content: dict[str, Any]) -> None:
    """Plan a recipe. Only a UserError may stop it."""
    recipe = read(content)
    if recipe is not None:
        is_refused(lambda: method_of_recipe(recipe).check(plan(recipe)))


@settings(max_examples=60)
@given(st.data())
def test_any_space_budget_and_fit_is_planned_or_refused(data: st.DataObject) -> None:
    """All plans use the digits, so that no other images are read or downloaded."""
    whole = data.draw(st.sampled_from(VALID))
    content = {**whole, "data": {"name": "digits", "fraction": 0.1}}
    for part in data.draw(st.sets(st.sampled_from(["space", "budget", "latency", "fit", "method"]), min_size=1)):
        content[part] = data.draw(mutated(whole.get(part, {}), times=2))
    plan_or_refuse(content)


@pytest.mark.parametrize("name", ["nas-bench-macro", "fbnetv2-f", "darts", "nats-bench"])
@pytest.mark.parametrize("value", [1e308, 1e15, 10**30, float("nan"), 0])
def test_no_setting_overflows(name: str, value: float) -> None:
    for setting, default in search_spaces.load(name).settings.items():
        changed = [value] * len(default) if isinstance(default, list) else value
        plan_or_refuse({"method": "spos", "space": {"name": name, setting: changed}})


@pytest.mark.parametrize("path", ["no\0file.yaml", "~nobody/x.yaml", "x" * 5000 + ".yaml", "/", "a\nb.py"])
def test_any_path_is_planned_or_refused(path: str) -> None:
    small = {"method": "spos", "space": {"name": "nas-bench-macro", "resolution": 16}}
    plan_or_refuse({**small, "latency": {"path": path}})
    plan_or_refuse({**small, "data": {"name": "folder", "path": path}})
    plan_or_refuse({**small, "space": {"name": path}})
    plan_or_refuse({**small, "space": {"name": "mine", "file": {"path": path, "sha256": ""}}})
