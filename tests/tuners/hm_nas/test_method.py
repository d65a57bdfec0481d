"""HM-NAS: the learning rates of masks."""

from __future__ import annotations

import pytest

from raynas.recipe.recipe import Recipe
from search_spaces.cell.genotype import Genotype
from search_spaces.cell.space import CellSpace
from tests.support.small_spaces import cells
from tuners.hm_nas.method import HmNas


@pytest.fixture
def space() -> CellSpace:
    return cells("darts", {"cells": 3, "channels": 4, "resolution": 8, "num_classes": 3})


@pytest.fixture
def genotype(space: CellSpace) -> Genotype:
    return Genotype.of(space, [[1 / 7] * 7] * 14, [1 / 4] * 14)


def test_the_published_recipe_has_the_published_rates(genotype: Genotype) -> None:
    """20 epochs of 50,000 / 128 steps have the rates 1e-5 and 1e-4, and a tenth after ten epochs (section 4.2)."""
    settings = Recipe.read("hm-nas-cifar10").method
    masking = HmNas.model_validate({key: value for key, value in settings.items() if key != "name"}).masking(
        genotype, 50_000 // 128
    )
    assert masking.learning_rate == pytest.approx(1e-5, rel=0.01)
    assert masking.weight_mask_learning_rate == pytest.approx(1e-4, rel=0.01)
    assert masking.decay_epoch == 10


@pytest.mark.parametrize("epochs", [1, 2, 5])
def test_learning_rates_follow_from_the_greatest_change(genotype: Genotype, epochs: int) -> None:
    masking = HmNas(mask_epochs=epochs, max_mask_change=0.05).masking(genotype, 7)
    rates = [masking.learning_rate * (0.1 if epoch >= masking.decay_epoch else 1) for epoch in range(epochs)]
    assert 7 * sum(rates) == pytest.approx(0.05)
