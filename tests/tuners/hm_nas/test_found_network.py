"""The weights of HM-NAS's searched network, and the searched network of another run."""

from __future__ import annotations

import pytest
import torch

from search_spaces.cell.genotype import Genotype
from search_spaces.cell.space import CellSpace
from search_spaces.errors import UserError
from tests.support.small_spaces import cells
from tuners.hm_nas.found_network import derive_searched_weights, select_fitting_weights
from tuners.hm_nas.mask_schedule import MaskSchedule
from tuners.hm_nas.masks import derive_genotype
from tuners.hm_nas.method import HmNas
from tuners.hm_nas.searched_run import read_searched_network


@pytest.fixture
def space() -> CellSpace:
    return cells("darts", {"cells": 3, "channels": 4, "resolution": 8, "num_classes": 3})


@pytest.fixture
def genotype(space: CellSpace) -> Genotype:
    return Genotype.of(space, [[1 / 7] * 7] * 14, [1 / 4] * 14)


def test_unmasked_searched_weights_are_the_supernets_or_new(space: CellSpace, genotype: Genotype) -> None:
    learner = HmNas().masking(genotype, MaskSchedule(20, 7)).begin(space, space.costs(), 0)
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
