"""A call of `raynas auto` with other options on the same run folder is refused; the same call is not."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from raynas.auto.options import AutoOptions
from raynas.auto.pipeline import run_auto
from raynas.recipe.recipe import Recipe
from raynas.storage.progress import Quiet
from search_spaces.errors import UserError

BEFORE = AutoOptions("/flowers", {"macs": 5e6}, 1, 0.2)


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    """The recipe of an earlier call, with its options beside it."""
    file = tmp_path / "run.yaml"
    content = {
        "method": {"name": "spos"},
        "space": {"name": "proxylessnas", "width": 0.125, "resolution": 32},
        "data": {"name": "folder", "path": "/flowers"},
        "budget": {"macs": {"min": 4e6, "max": 5e6}},
    }
    file.write_text(yaml.safe_dump(content))
    BEFORE.write(str(tmp_path / "run"))
    return file


@pytest.mark.parametrize(
    ("images", "limits", "minutes", "test", "change"),
    [
        ("/flowers", {"macs": "5M"}, 2, 0.2, "--minutes 1, not 2"),
        ("/flowers", {"macs": "5M"}, 1, 0.3, "--test 0.2, not 0.3"),
        ("/flowers", {"macs": "6M"}, 1, 0.2, "--max-macs 5,000,000, not 6,000,000"),
        ("/flowers", {"params": "1M"}, 1, 0.2, "--max-macs 5,000,000, not absent; --max-params absent, not 1,000,000"),
        ("/birds", {"macs": "5M"}, 2.5, 0.2, "the images /flowers, not /birds; --minutes 1, not 2.5"),
    ],
)
def test_other_options_are_refused_before_images_are_read(
    images: str, limits: dict[str, str], minutes: float, test: float, change: str, recipe_file: Path
) -> None:
    run = str(recipe_file.with_suffix(""))
    before = recipe_file.read_text()
    with pytest.raises(UserError) as refused:
        run_auto(images, limits, minutes, run, Quiet(), False, test)
    assert str(refused.value) == (
        f"{run} began with {change}: repeat the earlier options to go on with it, or give another folder with --out."
    )
    assert recipe_file.read_text() == before


def test_the_same_options_go_on(recipe_file: Path) -> None:
    run = str(recipe_file.with_suffix(""))
    BEFORE.check_unchanged(run, Recipe.read(str(recipe_file)), recipe_file)
    with pytest.raises(UserError, match="There is nothing at /flowers"):
        run_auto("/flowers", {"macs": "5M"}, 1, run, Quiet(), False)


def test_a_recipe_without_options_is_compared_itself(recipe_file: Path) -> None:
    """The user may have written the recipe, or changed any other key of it."""
    options = recipe_file.with_name("run.options.json")
    for damage in (options.unlink, lambda: options.write_text("{}")):
        damage()
        AutoOptions("/flowers", {"macs": 5e6}, 9, 0.2).check_unchanged(
            "run", Recipe.read(str(recipe_file)), recipe_file
        )
        with pytest.raises(UserError, match="is a recipe for other images or limits"):
            AutoOptions("/flowers", {"macs": 6e6}, 1, 0.2).check_unchanged(
                "run", Recipe.read(str(recipe_file)), recipe_file
            )
