"""The JSON Schema of a recipe accepts every recipe that ships, and refuses the recipes that raynas refuses."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from raynas.cli import main
from raynas.cli.schema import recipe_schema
from raynas.recipe.recipe import shipped_recipes


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    Draft202012Validator.check_schema(recipe_schema())
    return Draft202012Validator(recipe_schema())


@pytest.mark.parametrize("name", shipped_recipes())
def test_recipes_that_ship_are_valid(name: str, validator: Draft202012Validator) -> None:
    text = (resources.files("raynas.recipe") / "shipped" / f"{name}.yaml").read_text(encoding="utf-8")
    assert list(validator.iter_errors(yaml.safe_load(text))) == []


@pytest.mark.parametrize(
    "recipe",
    [
        {"space": "fbnet"},
        {"method": "pad-nas"},
        {"method": "pad-nas", "space": "fbnet", "sed": 1},
        {"method": {"name": "pad-nas", "stage": 4}, "space": "fbnet"},
        {"method": {"name": "pad-nas", "stages": 1}, "space": "fbnet"},
        {"method": "pad-nas", "space": "fbnets"},
        {"method": "pad-nas", "space": "fbnet", "budget": {"macs": {"max": "much"}}},
        {"method": "pad-nas", "space": "fbnet", "fit": {"teacher": {"share": 0.5}}},
        {"method": "pad-nas", "space": "fbnet", "training": {"epochs": 0}},
    ],
)
def test_recipes_that_raynas_refuses_are_invalid(recipe: dict[str, Any], validator: Draft202012Validator) -> None:
    assert not validator.is_valid(recipe)


def test_the_command_prints_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    main.main(["schema"])
    assert json.loads(capsys.readouterr().out) == recipe_schema()
