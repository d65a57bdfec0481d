"""The final trainings that recipes and pages print carry all settings of their recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from raynas.networks.fit import fit_recipe
from raynas.recipe.recipe import Recipe, shipped_recipes
from raynas.storage.difference import difference
from search_spaces.errors import UserError
from tests.support.printed_fits import printed_fits, shipped_text
from tests.support.published_cells import DARTS_V2

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_printed_final_training_has_all_settings_of_its_recipe(name: str) -> None:
    """The command names its own recipe, so that nothing starts from defaults; it changes what it says alone."""
    recipe = Recipe.read(name).json_value()
    for command in printed_fits(shipped_text(name)):
        assert command.recipe == name
        changed = fit_recipe("darts: ...", command.recipe, command.changes).json_value()
        paths = {change.partition("=")[0] for change in command.changes}
        parts = {key: recipe[key] for key in ("space", "data", "evaluation", "fit", "scale", "seed")}
        different = {path for path, *_ in difference(parts, {key: changed[key] for key in parts}, frozenset())}
        assert different <= paths
        assert changed["data"]["augment"] in ("crop-flip", "random-resized-crop")


def test_pages_print_no_final_training_without_its_recipe() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    assert all(command.recipe for page in pages for command in printed_fits(page.read_text()))


def test_published_cells_train_in_the_space_of_a_recipe_or_of_their_own_settings() -> None:
    own = fit_recipe(f"darts: {DARTS_V2}", None, ["space.cells=20", "epochs=3"])
    assert own.space == {"name": "darts", "operations": 8, "subset": False, "cell_types": "two", "cells": 20}
    assert own.fit.epochs == 3
    assert fit_recipe(DARTS_V2, "darts-cifar10", []).space == Recipe.read("darts-cifar10").space
    with pytest.raises(UserError, match="Name the space of this Genotype: begin the text with 'darts:'"):
        fit_recipe(DARTS_V2, None, [])
