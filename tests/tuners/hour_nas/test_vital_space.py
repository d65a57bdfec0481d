"""The spaces of HourNAS's two searches."""

import pytest
import torch

import search_spaces
from raynas.recipe.recipe import Recipe
from search_spaces import Budget, SearchSpace, UserError
from tuners.hour_nas.vital_space import fix_vital_blocks, restrict_to_vital


@pytest.fixture
def space() -> SearchSpace:
    return search_spaces.load("nas-bench-macro", width=0.125, resolution=16, num_classes=3)


def test_the_minimal_supernet_has_the_vital_blocks_and_skips(space: SearchSpace) -> None:
    vital = {choice.name for choice in space.vital()}
    assert vital == {"stage1.1", "stage2.1", "stage3.1"}
    minimal = restrict_to_vital(space)
    for choice, surviving in zip(minimal.choices, minimal.surviving, strict=True):
        options = [choice.options[option] for option in surviving]
        assert options == (["k3e3", "k5e6"] if choice.name in vital else ["skip"])


def test_the_small_recipe_has_the_vital_blocks_of_its_space() -> None:
    settings = dict(Recipe.read("hour-nas-digits").space)
    small = search_spaces.load(settings.pop("name"), **settings)
    vital = [choice.name for choice in search_spaces.load("fbnet").vital()]
    assert len(vital) == 6
    assert [choice.name for choice in small.vital()] == vital


def test_a_space_without_vital_blocks_or_without_others_is_refused(space: SearchSpace) -> None:
    with pytest.raises(UserError, match="resnet20 has no vital block"):
        restrict_to_vital(search_spaces.load("resnet20"))
    without = space.restrict({"stage1.2": ["k3e3"]})
    with pytest.raises(UserError, match=r"stage1\.2 of nas-bench-macro is not vital, but lacks the option skip"):
        restrict_to_vital(without)


def test_vital_blocks_are_fixed_to_their_most_probable_operations_within_the_targets(
    space: SearchSpace,
) -> None:
    costs = space.costs()
    theta = torch.zeros(8, 3)
    theta[:, 2] = 5.0  # The most probable operation of every block is k5e6.
    generous = Budget.model_validate({"macs": {"target": costs.bounds()["macs"][1], "tolerance": 0.5}})
    fixed = fix_vital_blocks(space, costs, generous, theta)
    assert {c.name for c, s in zip(fixed.choices, fixed.surviving, strict=True) if s == (2,)} == {
        "stage1.1",
        "stage2.1",
        "stage3.1",
    }
    tight = Budget.model_validate({"macs": {"target": 200e3, "tolerance": 0.05}})
    fixed = fix_vital_blocks(space, costs, tight, theta)
    tight.check(fixed.costs())
    assert any(surviving == (1,) for surviving in fixed.surviving)
