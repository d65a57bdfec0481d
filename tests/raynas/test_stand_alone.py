"""DARTS's evaluation networks: the auxiliary head, edges that drop out, clipped gradients, and the printed counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

import search_spaces
from raynas.objective import WEIGHTS, MicroBatch, Step
from raynas.recipe import FitSettings
from raynas.stand_alone import stand_alone
from raynas.training.update import carry_out
from search_spaces.auxiliary import DropPath, auxiliary_head
from search_spaces.blocks import Place
from search_spaces.cell import CellSpace
from search_spaces.errors import UserError
from tests.search_spaces.small_spaces import cells

DARTS_V2 = (
    "darts: sep_conv_3x3 sep_conv_3x3 | sep_conv_3x3 sep_conv_3x3 none | skip_connect sep_conv_3x3 none none | "
    "skip_connect none dil_conv_3x3 none none | max_pool_3x3 max_pool_3x3 | none max_pool_3x3 skip_connect | "
    "max_pool_3x3 none skip_connect none | none max_pool_3x3 skip_connect none none"
)
"""The cells that DARTS prints for its second order."""
TWO = {"operations": 8, "subset": False, "cell_types": "two"}


@pytest.fixture
def space() -> CellSpace:
    return cells("darts", {**TWO, "cells": 3, "channels": 4, "resolution": 8, "num_classes": 3})


@pytest.mark.parametrize(
    ("name", "settings", "params", "printed_m", "macs"),
    [
        ("darts", {"cells": 20, "channels": 36}, 3_349_342, 3.3, 528_359_040),
        ("darts-imagenet", {"cells": 14, "channels": 48}, 4_718_752, 4.7, 529_911_552),
    ],
)
def test_darts_own_networks_cost_what_is_printed(
    name: str, settings: dict[str, Any], params: int, printed_m: float, macs: int
) -> None:
    """DARTS tables 1 and 2: 3.3 M and 4.7 M parameters. It prints 574 M multiply-adds, too; torch counts 530 M."""
    space = search_spaces.load(name, **TWO, **settings, affine=True)
    cost = space.costs().cost([space.parse(DARTS_V2.replace("darts:", f"{name}:"))])
    assert {key: int(value) for key, value in cost.items()} == {"params": params, "macs": macs}
    assert round(params / 1e6 - 0.02, 1) == printed_m


@pytest.mark.parametrize("size", [2, 4, 7, 8, 14])
def test_the_head_classifies_features_of_any_size(size: int) -> None:
    head = auxiliary_head(Place(16, 16, 1, size), 5)
    assert head(torch.randn(2, 16, size, size)).shape == (2, 5)
    kernel = dict(head.named_children())["conv2"].weight
    assert kernel.shape == (768, 128, 2, 2)


def test_the_head_is_in_training_alone(space: CellSpace) -> None:
    architecture = space.parse(DARTS_V2)
    plain, _ = stand_alone(space, architecture, FitSettings())
    headed, _ = stand_alone(space, architecture, FitSettings(auxiliary_weight=0.4))
    again = search_spaces.from_specification(headed.specification())
    without, with_head = plain.supernet().state_dict(), again.supernet().state_dict()
    assert {key for key in with_head if not key.startswith("auxiliary_head.")} == set(without)
    assert set(headed.network_state(architecture, with_head)) == set(headed.network(architecture).state_dict())
    assert headed.costs().cost([architecture]) == plain.costs().cost([architecture])


def test_images_drop_out_as_often_as_they_should_and_the_mean_stays() -> None:
    features = torch.ones(10_000, 1, 1, 1)
    dropped = DropPath(0.3, 5, 10_000, 0)(features).flatten()
    assert sorted(set(dropped.tolist())) == pytest.approx([0, 1 / 0.7])
    assert float(dropped.mean()) == pytest.approx(1, abs=0.03)
    parts = torch.cat([DropPath(0.3, 5, 10_000, first)(features[:2500]) for first in range(0, 10_000, 2500)])
    assert torch.equal(parts.flatten(), dropped)


class Bench:
    """One network and its optimizer, at a step of an epoch."""

    def __init__(self, space: CellSpace, settings: FitSettings, epoch: int = 0) -> None:
        torch.manual_seed(0)
        self.space, objective = stand_alone(space, space.parse(DARTS_V2), settings)
        self.supernet = self.space.supernet()
        ((self.update,),) = objective.begin(self.space, self.space.costs(), 0).passes(epoch)
        self.sgd = torch.optim.SGD(self.supernet.parameters(), lr=0.1)

    def step(self, parts: int = 1) -> Step:
        generator = torch.Generator().manual_seed(1)
        images, labels, size = torch.randn(8, 3, 8, 8, generator=generator), torch.arange(8) % 3, 8 // parts
        batches = [MicroBatch(images[i : i + size], labels[i : i + size], size / 8, first=i) for i in range(0, 8, size)]
        return Step(self.space, self.supernet, batches, np.random.default_rng(3), functional.cross_entropy)


def test_the_auxiliary_loss_is_added_with_its_weight(space: CellSpace) -> None:
    losses = {}
    for weight in (1e-9, 0.4, 0.8):
        bench = Bench(space, FitSettings(auxiliary_weight=weight))
        metrics = bench.update.accumulate(bench.step()).metrics
        losses[weight] = float(metrics["loss"])
    assert losses[0.8] - losses[1e-9] == pytest.approx(2 * (losses[0.4] - losses[1e-9]), rel=1e-4)
    assert losses[0.4] > losses[1e-9]
    assert all(weight.grad is not None for name, weight in bench.supernet.named_parameters() if "auxiliary" in name)


def test_the_probability_rises_over_the_epochs_and_micro_batches_do_not_matter(space: CellSpace) -> None:
    def gradients(epoch: int, parts: int, drop_path: float = 0.5) -> Tensor:
        bench = Bench(space, FitSettings(drop_path=drop_path, epochs=10), epoch)
        bench.supernet.eval()  # batch norm without a batch's statistics: only the dropping is left
        bench.update.accumulate(bench.step(parts))
        return torch.cat([weight.grad.flatten() for weight in bench.supernet.parameters() if weight.grad is not None])

    torch.testing.assert_close(gradients(9, 1), gradients(9, 4))
    assert torch.equal(gradients(0, 1), gradients(0, 1, drop_path=0.1))
    assert not torch.allclose(gradients(9, 1), gradients(4, 1))


@pytest.mark.parametrize("clip_norm", [None, 0.5, 1e6])
def test_gradients_are_clipped_to_their_norm_together(space: CellSpace, clip_norm: float | None) -> None:
    bench = Bench(space, FitSettings())
    before = [weight.detach().clone() for weight in bench.supernet.parameters()]
    bench.update.accumulate(bench.step())
    norm = torch.cat([w.grad.flatten() for w in bench.supernet.parameters() if w.grad is not None]).norm()
    bench.sgd.zero_grad()
    carry_out(bench.update, {WEIGHTS: bench.sgd}, 1.0, bench.step(), clip_norm)
    moved = torch.cat([(w - old).flatten() for w, old in zip(bench.supernet.parameters(), before, strict=True)])
    assert float(moved.detach().norm()) == pytest.approx(min(float(norm), clip_norm or 1e9), rel=1e-3)


def test_networks_that_have_neither() -> None:
    chain = search_spaces.load("proxylessnas")
    architecture = chain.sample(np.random.default_rng(0))
    with pytest.raises(UserError, match=r"for networks of cells, not of proxylessnas"):
        stand_alone(chain, architecture, FitSettings(drop_path=0.2))
    nats = search_spaces.load("nats-bench")
    with pytest.raises(UserError, match="nats-bench has no place for an auxiliary head"):
        stand_alone(nats, nats.sample(np.random.default_rng(0)), FitSettings(auxiliary_weight=0.4))
    stand_alone(nats, nats.sample(np.random.default_rng(0)), FitSettings(drop_path=0.2))
