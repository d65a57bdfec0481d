"""Stand-alone training of networks of cells: the auxiliary head, drop-path and clipped gradients."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

import search_spaces
from raynas.data import DataSettings, prepare
from raynas.interfaces.objective import WEIGHTS, Gradients, MicroBatch, TrainingStep, UniformPath
from raynas.recipe.settings import FitSettings
from raynas.storage.run_folder import RunFolder
from raynas.training import checkpoints
from raynas.training.optimizers import make_optimizer
from raynas.training.standalone_checks import check_standalone_settings
from raynas.training.standalone_training import standalone_objective
from raynas.training.update import apply_update
from search_spaces.cell.auxiliary import DropPath, auxiliary_head
from search_spaces.cell.supernet import Cell, CellSupernet
from search_spaces.errors import UserError
from tests.support import two_workers
from tests.support.small_spaces import cells

SETTINGS: dict[str, Any] = {"operations": 8, "subset": False, "cell_types": "two"}
SMALL: dict[str, Any] = {**SETTINGS, "cells": 3, "channels": 4, "resolution": 8, "num_classes": 3}
DARTS_V2 = (
    "darts: sep_conv_3x3 sep_conv_3x3 | sep_conv_3x3 sep_conv_3x3 none | skip_connect sep_conv_3x3 none none | "
    "skip_connect none dil_conv_3x3 none none | max_pool_3x3 max_pool_3x3 | none max_pool_3x3 skip_connect | "
    "max_pool_3x3 none skip_connect none | none max_pool_3x3 skip_connect none none"
)
"""The cells of DARTS's paper, searched with the second order."""
IMAGES = 8


class Bench:
    """One network with its learner and optimizer in one epoch. Batch norm is in evaluation mode."""

    def __init__(self, settings: FitSettings, epoch: int = 0) -> None:
        torch.manual_seed(0)
        space = cells("darts", SMALL)
        self.space = space.only(space.parse(DARTS_V2))
        self.supernet = self.space.supernet().eval()
        self.learner = (
            standalone_objective(settings, prepare(DataSettings(), 8, 0))
            .begin(self.space, self.space.costs(), 0)
            .eval()
        )
        ((self.update,),) = self.learner.passes(epoch)
        self.weights = [*self.supernet.parameters(), *self.learner.own_weights()]
        self.sgd = make_optimizer(self.weights, settings)

    def step(self, parts: int = 1, share: slice = slice(IMAGES)) -> TrainingStep:
        """Return a training step on a share of the images.

        Args:
            parts: the number of micro-batches.
        """
        generator = torch.Generator().manual_seed(1)
        images, labels = torch.randn(IMAGES, 3, 8, 8, generator=generator), torch.arange(IMAGES) % 3
        bounds = np.linspace(share.start or 0, share.stop, parts + 1).astype(int).tolist()
        batches = [
            MicroBatch(images[begin:end], labels[begin:end], (end - begin) / IMAGES, begin)
            for begin, end in pairwise(bounds)
        ]
        return TrainingStep(self.space, self.supernet, batches, np.random.default_rng(3), functional.cross_entropy)

    def accumulate(self, parts: int = 1) -> Gradients:
        return self.update.accumulate(self.step(parts))

    def gradients(self, parts: int = 1) -> Tensor:
        self.accumulate(parts)
        return torch.cat([weight.grad.flatten() for weight in self.weights if weight.grad is not None])

    def values(self) -> Tensor:
        return torch.cat([weight.detach().flatten() for weight in self.weights])


@pytest.mark.parametrize(
    ("size", "norm", "pooled"),
    [(8, True, [slice(0, 5), slice(3, 8)]), (7, False, [slice(0, 5), slice(2, 7)])],
)
def test_the_head_has_the_layers_of_darts(size: int, norm: bool, pooled: list[slice]) -> None:
    """Pooling by hand: four 5x5 windows, at stride 3 on CIFAR-10 and stride 2 on ImageNet."""
    head = auxiliary_head(16, size, 5, norm)
    layers = dict(head.named_children())
    assert list(layers) == [
        *("relu", "pool", "conv1", "norm1", "relu1", "conv2"),
        *(["norm2"] if norm else []),
        *("relu2", "flatten", "classifier"),
    ]
    params = 16 * 128 + 2 * 128 + 4 * 128 * 768 + (2 * 768 if norm else 0) + 768 * 5 + 5
    assert sum(weight.numel() for weight in head.parameters()) == params
    features = torch.randn(2, 16, size, size)
    windows = [[features.relu()[:, :, rows, columns].mean((2, 3)) for columns in pooled] for rows in pooled]
    expected = torch.stack([torch.stack(row, dim=-1) for row in windows], dim=-2)
    torch.testing.assert_close(layers["pool"](features.relu()), expected)
    assert head(features).shape == (2, 5)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 9, 14])
def test_the_head_classifies_features_of_any_size(size: int) -> None:
    assert auxiliary_head(16, size, 5, norm=True)(torch.randn(2, 16, size, size)).shape == (2, 5)


@pytest.mark.parametrize(
    ("name", "settings", "cell", "features", "norm"),
    [
        ("darts", {**SETTINGS, "cells": 20, "channels": 36}, 13, (576, 8), True),
        ("darts-imagenet", {**SETTINGS, "cells": 14, "channels": 48}, 9, (768, 7), False),
        ("darts", {"cells": 3, "channels": 4, "resolution": 8}, 2, (64, 2), True),
        ("darts", {"cells": 1, "channels": 4, "resolution": 8}, 0, (32, 4), True),
        ("nats-bench", {}, 10, (64, 8), True),
    ],
)
def test_the_head_stands_behind_the_last_reduction(
    name: str, settings: dict[str, Any], cell: int, features: tuple[int, int], norm: bool
) -> None:
    space = cells(name, settings)
    plan = space.layout()
    assert plan.last_reduction == cell
    assert (plan.cells[cell].out_channels, plan.cells[cell].out_size) == features
    with torch.device("meta"):
        head = dict(space.auxiliary_head(num_classes=7).named_children())
    assert [tuple(weight.shape) for weight in head["conv1"].parameters()] == [(128, features[0], 1, 1)]
    assert [len(weight) for weight in head["classifier"].parameters()] == [7, 7]
    assert ("norm2" in head) == norm


@pytest.mark.parametrize("name", ["darts", "nats-bench"])
def test_the_head_gets_the_output_of_the_last_reduction_cell(name: str) -> None:
    space = cells(name, {"cells": 4 if name == "darts" else 1, "channels": 4, "resolution": 8})
    architecture = space.sample(np.random.default_rng(0))
    network = space.supernet().eval()
    inputs_after: list[Tensor] = []
    consumers = [*(cast(Cell, cell).inputs[-1] for cell in network.cells), network.head][1:]
    consumers[space.layout().last_reduction].register_forward_pre_hook(
        lambda module, inputs: inputs_after.extend(inputs)
    )
    images = torch.randn(2, 3, 8, 8)
    logits, features = network.trained(images, architecture, None)
    assert torch.equal(features, inputs_after[0])
    assert torch.equal(logits, network(images, architecture))


def test_the_head_does_not_change_the_network() -> None:
    """The weights have the same names and initial values. The head belongs to the learner."""
    plain, headed = Bench(FitSettings()), Bench(FitSettings(auxiliary_weight=0.4))
    without, with_head = plain.supernet.state_dict(), headed.supernet.state_dict()
    assert list(without) == list(with_head)
    assert all(torch.equal(value, with_head[key]) for key, value in without.items())
    assert {key.split(".")[0] for key in headed.learner.state_dict()} == {"head"}
    assert not list(plain.learner.own_weights())
    space, architecture = headed.space, headed.space.parse(DARTS_V2)
    space.network(architecture).load_state_dict(with_head)


def test_default_settings_train_like_any_path() -> None:
    assert standalone_objective(FitSettings(), prepare(DataSettings(), 8, 0)) == UniformPath()


def test_drop_path_drops_the_set_share_and_keeps_the_mean() -> None:
    features = torch.ones(10_000, 1, 1, 1)
    dropped = DropPath(0.3, 5, 10_000, 0)(features).flatten()
    assert sorted(set(dropped.tolist())) == pytest.approx([0, 1 / 0.7])
    assert float(dropped.mean()) == pytest.approx(1, abs=0.03)
    parts = torch.cat([DropPath(0.3, 5, 10_000, first)(features[:2500]) for first in range(0, 10_000, 2500)])
    assert torch.equal(parts.flatten(), dropped)


def test_drop_path_applies_to_each_operation_except_the_identity() -> None:
    space = cells("nats-bench", {"cells": 1, "channels": 4, "resolution": 8, "num_classes": 3})
    network = space.supernet().eval()
    calls: list[tuple[int, ...]] = []

    class RecordedDropPath(DropPath):
        def __call__(self, features: Tensor) -> Tensor:
            calls.append(tuple(features.shape))
            return super().__call__(features)

    def run(*words: str) -> Tensor:
        calls.clear()
        architecture = space.architecture([space.choices[0].options.index(word) for word in words])
        logits, _ = network.trained(torch.ones(2, 3, 8, 8), architecture, RecordedDropPath(0.5, 0, 2, 0))
        assert torch.equal(logits, network(torch.ones(2, 3, 8, 8), architecture)) == (not calls)
        return logits

    run(*["skip_connect"] * 6)
    assert calls == []
    run("nor_conv_3x3", "skip_connect", "none", "avg_pool_3x3", "none", "none")
    assert calls == [(2, channels, size, size) for channels, size in ((4, 8), (8, 4), (16, 2)) for _ in range(2)]


def test_the_auxiliary_loss_is_added_with_its_weight() -> None:
    by_hand = Bench(FitSettings(auxiliary_weight=1.0))
    (batch,) = by_hand.step().micro_batches
    assert isinstance(by_hand.supernet, CellSupernet)
    logits, features = by_hand.supernet.trained(batch.images, by_hand.space.parse(DARTS_V2), None)
    (head,) = by_hand.learner.children()
    main, auxiliary = (functional.cross_entropy(outputs, batch.labels) for outputs in (logits, head(features)))
    for weight, parts in ((0.4, 1), (0.4, 4), (0.8, 1)):
        bench = Bench(FitSettings(auxiliary_weight=weight))
        metrics = bench.accumulate(parts).metrics
        assert float(metrics["loss"]) == pytest.approx((main + weight * auxiliary).item(), rel=1e-5)
        assert all(tensor.grad is not None for tensor in bench.weights)
    torch.autograd.backward(main + 0.8 * auxiliary)
    expected = torch.cat([weight.grad.flatten() for weight in by_hand.weights if weight.grad is not None])
    torch.testing.assert_close(Bench(FitSettings(auxiliary_weight=0.8)).gradients(), expected)


def test_drop_path_rises_over_the_epochs_and_does_not_depend_on_micro_batches() -> None:
    def gradients(epoch: int, parts: int = 1, drop_path: float = 0.5) -> Tensor:
        return Bench(FitSettings(drop_path=drop_path, epochs=10), epoch).gradients(parts)

    torch.testing.assert_close(gradients(9), gradients(9, parts=4))
    assert torch.equal(gradients(0), Bench(FitSettings()).gradients())
    assert torch.equal(gradients(8, drop_path=0.25), gradients(4))  # both 0.2
    assert not torch.allclose(gradients(9), gradients(4))


BOTH = FitSettings(auxiliary_weight=0.4, drop_path=0.5, epochs=4, momentum=0.9, clip_norm=0.5)


def test_the_head_is_trained_and_restored_like_the_network(tmp_path: Path) -> None:
    """Momentum, weight decay and learning rate apply to the head, and a checkpoint holds it."""

    def train_step(bench: Bench) -> Tensor:
        apply_update(bench.update, {WEIGHTS: bench.sgd}, 0.1, bench.step(), BOTH.clip_norm)
        return bench.values()

    unbroken, resumed = Bench(BOTH, epoch=2), Bench(BOTH, epoch=2)
    before = unbroken.values()
    train_step(unbroken)
    folder, file = RunFolder(tmp_path), checkpoints.name(1, 0, 1)
    checkpoints.save(folder, file, unbroken.supernet, {WEIGHTS: unbroken.sgd}, unbroken.learner, {})
    expected = train_step(unbroken)
    checkpoints.restore(folder, file, resumed.supernet, {WEIGHTS: resumed.sgd}, resumed.learner)
    assert torch.equal(train_step(resumed), expected)
    heads = sum(weight.numel() for weight in unbroken.learner.parameters())
    assert (expected - before)[-heads:].abs().max() > 0


@pytest.mark.parametrize("clip_norm", [None, 0.5, 1e6])
def test_gradients_are_clipped_by_their_joint_norm(clip_norm: float | None) -> None:
    bench = Bench(FitSettings(auxiliary_weight=0.4, momentum=0, weight_decay=0))
    before, gradients = bench.values(), bench.gradients()
    bench.sgd.zero_grad()
    apply_update(bench.update, {WEIGHTS: bench.sgd}, 1.0, bench.step(), clip_norm)
    factor = 1 if clip_norm is None else min(1, clip_norm / (float(gradients.double().norm()) + 1e-6))
    torch.testing.assert_close(before - bench.values(), factor * gradients, atol=1e-6, rtol=1e-5)


def train_share(rank: int) -> dict[str, Any]:
    bench = Bench(BOTH, epoch=2)
    share = (slice(3), slice(3, IMAGES))[rank]  # shares can be unequal
    for _ in range(2):
        result = apply_update(bench.update, {WEIGHTS: bench.sgd}, 0.1, bench.step(share=share), BOTH.clip_norm)
    return {"values": bench.values(), "loss": result.metrics["loss"]}


def test_two_workers_train_like_one(tmp_path: Path) -> None:
    """Gradients are clipped after their sum over the workers."""
    single = Bench(BOTH, epoch=2)
    for _ in range(2):
        result = apply_update(single.update, {WEIGHTS: single.sgd}, 0.1, single.step(), BOTH.clip_norm)
    first, second = two_workers.run(train_share, tmp_path)
    assert torch.equal(first["values"], second["values"])
    torch.testing.assert_close(first["values"], single.values(), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(first["loss"], result.metrics["loss"])


def test_settings_for_cells_are_refused_for_other_networks() -> None:
    chain = search_spaces.load("proxylessnas")
    check_standalone_settings(chain, FitSettings())
    check_standalone_settings(cells("nats-bench", {}), BOTH)
    for settings in (FitSettings(auxiliary_weight=0.4), FitSettings(drop_path=0.2)):
        with pytest.raises(UserError, match=r"for networks of cells, and proxylessnas has none: leave them out"):
            check_standalone_settings(chain, settings)
