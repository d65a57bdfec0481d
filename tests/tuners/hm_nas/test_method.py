"""HM-NAS: the learning rates of masks."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from raynas.recipe.recipe import Recipe
from search_spaces.cell.genotype import Genotype
from search_spaces.cell.space import CellSpace
from search_spaces.errors import UserError
from tests.support.small_spaces import cells
from tuners.hm_nas.mask_schedule import MaskSchedule
from tuners.hm_nas.method import HmNas


@pytest.fixture
def space() -> CellSpace:
    return cells("darts", {"cells": 3, "channels": 4, "resolution": 8, "num_classes": 3})


@pytest.fixture
def genotype(space: CellSpace) -> Genotype:
    return Genotype.of(space, [[1 / 7] * 7] * 14, [1 / 4] * 14)


@pytest.mark.parametrize(("recipe", "images"), [("hm-nas-cifar10", 50_000), ("hm-nas-imagenet", 129_395)])
def test_published_recipes_have_the_published_rates(genotype: Genotype, recipe: str, images: int) -> None:
    """The rates are 1e-5 and 1e-4, and a tenth after ten epochs, for any number of training steps (section 4.2)."""
    settings = Recipe.read(recipe).method
    method = HmNas.model_validate({key: value for key, value in settings.items() if key != "name"})
    masking = method.masking(genotype, MaskSchedule(method.mask_epochs, images // 128))
    assert (masking.learning_rate, masking.weight_mask_learning_rate) == (1e-5, 1e-4)
    assert (masking.initial_mask, masking.threshold, masking.decay_epoch) == (0.01, 0.005, 10)


def test_the_small_recipe_moves_masks_as_far_as_the_paper_on_cifar10() -> None:
    schedule, settings = MaskSchedule(20, 50_000 // 128), Recipe.read("hm-nas-digits").method
    assert settings["max_mask_change"] == pytest.approx(1e-5 * schedule.full_rate_steps, rel=0.01)
    assert settings["max_weight_mask_change"] == pytest.approx(1e-4 * schedule.full_rate_steps, rel=0.01)


@pytest.mark.parametrize("epochs", [1, 2, 5])
def test_learning_rates_follow_from_the_greatest_change(genotype: Genotype, epochs: int) -> None:
    masking = HmNas(max_mask_change=0.05).masking(genotype, MaskSchedule(epochs, 7))
    rates = [masking.learning_rate * (0.1 if epoch >= masking.decay_epoch else 1) for epoch in range(epochs)]
    assert 7 * sum(rates) == pytest.approx(0.05)
    assert masking.weight_mask_learning_rate == 1e-4


def test_a_rate_and_a_change_together_are_refused() -> None:
    with pytest.raises(ValidationError, match="weight_mask_rate and max_weight_mask_change are two ways"):
        HmNas(weight_mask_rate=1e-4, max_weight_mask_change=0.43)


def test_rates_that_cannot_cross_the_threshold_are_refused() -> None:
    """500 steps at 1e-5 move a mask by 0.005; the threshold is 0.005 below the first value."""
    MaskSchedule(1, 501).check_reaches(0.005, {"mask_rate": 1e-5})
    with pytest.raises(UserError, match=r"method.mask_rate=1e-05 moves a mask by at most .* method.max_mask_change"):
        MaskSchedule(1, 499).check_reaches(0.005, {"mask_rate": 1e-5})


def test_the_threshold_can_be_zero() -> None:
    """Footnote 1: the method is robust to thresholds in [0, 0.01]."""
    assert HmNas(threshold=0).threshold == 0
    with pytest.raises(ValidationError):
        HmNas(threshold=-0.001)
