"""HM-NAS: the learning rates of masks, the weights of the searched network, and the searched network of another run."""

from __future__ import annotations

import pytest
import torch

from raynas.recipe.recipe import Recipe
from search_spaces.cell.genotype import Genotype
from search_spaces.cell.space import CellSpace
from search_spaces.errors import UserError
from tests.support.small_spaces import cells
from tuners.hm_nas.found_network import derive_searched_weights, read_searched_network, select_fitting_weights
from tuners.hm_nas.masks import derive_genotype
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


def test_unmasked_searched_weights_are_the_supernets_or_new(space: CellSpace, genotype: Genotype) -> None:
    learner = HmNas().masking(genotype, 7).begin(space, space.costs(), 0)
    with torch.no_grad():
        learner.edges[4:] = 0
        for mask in learner.weights.values():
            mask.flatten()[::2] = 0
    torch.manual_seed(5)
    supernet = space.supernet().state_dict()
    searched = derive_genotype(space, learner)
    kept, new, again = (derive_searched_weights(searched, learner, seed, dict(supernet)) for seed in (None, 1, 1))
    assert set(kept) == set(searched.network().state_dict()) == set(new)
    key = next(key for key in kept if key.endswith("depthwise.weight"))
    assert torch.equal(kept[key].flatten()[1::2], supernet[key].flatten()[1::2])
    for weights in (kept, new):
        assert not weights[key].flatten()[::2].any()
        assert weights[key].flatten()[1::2].all()
    assert not torch.equal(new[key], kept[key])
    assert all(torch.equal(new[name], again[name]) for name in new)


def test_a_folder_without_a_searched_network_is_refused(space: CellSpace, tmp_path: object) -> None:
    with pytest.raises(UserError, match="holds no network that hm-nas has searched"):
        read_searched_network(str(tmp_path), space)


def test_a_searched_network_with_other_classes_has_a_new_classifier_and_keeps_its_zeros(
    space: CellSpace, genotype: Genotype
) -> None:
    torch.manual_seed(5)
    weights = space.network_state(genotype.architecture, space.supernet().state_dict())
    weights["cells.0.inputs.1.conv.weight"].flatten()[::2] = 0
    wider = cells("darts", {"cells": 3, "channels": 4, "resolution": 8, "num_classes": 7})
    imported = Genotype.parse(wider, str(genotype))
    kept = select_fitting_weights(imported, None, weights)
    assert set(weights) - set(kept) == {"head.classifier.weight", "head.classifier.bias"}
    assert all(torch.equal(kept[key], weights[key]) for key in kept)
    new = select_fitting_weights(imported, 1, weights)["cells.0.inputs.1.conv.weight"].flatten()
    assert not new[::2].any()
    assert new[1::2].all()
    assert not torch.equal(new, weights["cells.0.inputs.1.conv.weight"].flatten())
