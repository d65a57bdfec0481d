"""HM-NAS's masks: equations 3 and 4 by hand, the moved parameters, and the network that the masks leave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from raynas.interfaces.objective import WEIGHTS, Learner, TrainingStep
from raynas.training.update import apply_update
from search_spaces.cell.genotype import Genotype
from search_spaces.cell.space import CellSpace
from search_spaces.errors import UserError
from search_spaces.supernet import Mixed, Supernet
from tests.support import two_workers
from tests.support.micro_batches import split_batch
from tests.support.small_spaces import cells
from tuners.hm_nas.masks import (
    MASKS,
    Masking,
    MaskingLearner,
    Tuning,
    binarise,
    derive_genotype,
    has_mask,
    nodes_without_inputs,
)

OPERATIONS = [[0.5, 0.3, 0.2]] * 14
EDGES = [1 / 2] * 2 + [1 / 3] * 3 + [1 / 4] * 4 + [1 / 5] * 5


@pytest.fixture
def space() -> CellSpace:
    return small_darts()


def small_darts() -> CellSpace:
    operations = ["skip_connect", "sep_conv_3x3", "max_pool_3x3"]
    return cells("darts", {"cells": 3, "channels": 4, "resolution": 8, "num_classes": 3, "operations": operations})


@pytest.fixture
def supernet(space: CellSpace) -> Supernet:
    torch.manual_seed(0)
    return space.supernet()


def masking(**settings: object) -> Masking:
    return Masking.model_validate({"operations": OPERATIONS, "edges": EDGES, **settings})


def new_learner(space: CellSpace, **settings: object) -> MaskingLearner:
    return masking(**settings).begin(space, space.costs(), 0)


def move(
    space: CellSpace, supernet: Supernet, learner: Learner, parts: int = 1, epoch: int = 0, part: int | None = None
) -> dict[str, Tensor]:
    """Make one training step on eight images.

    Args:
        parts: the number of micro-batches.
        part: the only micro-batch that is used; None uses all.
    """
    generator = torch.Generator().manual_seed(1)
    batches = split_batch(torch.randn(8, 3, 8, 8, generator=generator), torch.arange(8) % 3, parts)
    batches = batches if part is None else batches[part : part + 1]
    ((update,),) = learner.passes(epoch)
    sgd = torch.optim.SGD(supernet.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    optimizers = {WEIGHTS: sgd, **learner.groups()}
    return apply_update(
        update,
        optimizers,
        0.1,
        TrainingStep(space, supernet, batches, np.random.default_rng(0), functional.cross_entropy, weights=sgd),
    ).metrics


def test_equation_4_has_h_of_0_equal_to_1_and_passes_its_gradient_through() -> None:
    mask = torch.tensor([0.1, 0.2, 0.3], requires_grad=True)
    kept = binarise(mask, 0.2)
    assert kept.tolist() == [0, 1, 1]
    torch.autograd.backward((kept * torch.tensor([5.0, 6.0, 7.0])).sum())
    assert mask.grad is not None
    assert mask.grad.tolist() == [5, 6, 7]


def test_equation_3_multiplies_without_normalising_again(space: CellSpace) -> None:
    learner = new_learner(space)
    with torch.no_grad():
        learner.operations[0, 1] = 0
        learner.edges[3] = 0.001
    mixture = learner.mixture()
    assert mixture[0].tolist() == pytest.approx([0.25, 0, 0.1])
    assert mixture[1].tolist() == pytest.approx([0.25, 0.15, 0.1])
    assert mixture[3].tolist() == [0, 0, 0]
    genotype = derive_genotype(space, learner)
    assert torch.equal(genotype.weights, mixture)
    assert [value.bit_count() for value in genotype.architecture.indices] == [2, 3, 3, 0, *[3] * 10]


def test_gradients_equal_those_of_binary_factors(space: CellSpace, supernet: Supernet) -> None:
    """The expected gradient is autograd's through a plain product with factors of 0 and 1."""
    learner = new_learner(space)
    key = next(iter(learner.weights))
    with torch.no_grad():
        learner.operations[4, 0] = 0
        learner.weights[key].flatten()[::3] = 0
    binary_weights = (learner.weights[key] >= 5e-3).float().requires_grad_()
    factors = (learner.operations >= 5e-3).float().requires_grad_()

    images, labels = torch.randn(8, 3, 8, 8), torch.arange(8) % 3
    weights = dict(supernet.named_parameters())
    plain = {**weights, key.replace("/", "."): weights[key.replace("/", ".")] * binary_weights}
    mixture = torch.tensor(OPERATIONS) * factors * torch.tensor(EDGES)[:, None]
    mixed = Mixed(supernet)
    logits = torch.func.functional_call(mixed, {f"supernet.{k}": v for k, v in plain.items()}, (images, mixture))
    torch.autograd.backward(functional.cross_entropy(logits, labels))

    masked_weights = {f"supernet.{k}": v for k, v in learner.masked_weights(weights).items()}
    logits = torch.func.functional_call(mixed, masked_weights, (images, learner.mixture()))
    torch.autograd.backward(functional.cross_entropy(logits, labels))
    torch.testing.assert_close(learner.operations.grad, factors.grad)
    torch.testing.assert_close(learner.weights[key].grad, binary_weights.grad)


def test_a_step_moves_the_masks_by_their_learning_rates_and_nothing_else(space: CellSpace, supernet: Supernet) -> None:
    before = {key: value.clone() for key, value in supernet.named_parameters()}
    statistics = {key: value.clone() for key, value in supernet.named_buffers() if "running" in key}
    learner = new_learner(space, learning_rate=1e-3, weight_mask_learning_rate=2e-3)
    metrics = move(space, supernet, learner)
    assert set(metrics) == {"loss", "top1"}
    assert all(torch.equal(value, before[key]) for key, value in supernet.named_parameters())
    assert any(not torch.equal(value, statistics[key]) for key, value in supernet.named_buffers() if key in statistics)
    change = (learner.operations.detach() - 1e-2).abs()
    assert change.max() == pytest.approx(1e-3, rel=1e-3)
    assert (learner.edges.detach() - 1e-2).abs().max() == pytest.approx(1e-3, rel=1e-3)
    assert max(float((mask.detach() - 1e-2).abs().max()) for mask in learner.weights.values()) == pytest.approx(
        2e-3, rel=1e-3
    )


def test_other_levels_do_not_move_and_learning_rates_fall_to_a_tenth(space: CellSpace, supernet: Supernet) -> None:
    learner = new_learner(space, levels=["edges"], learning_rate=1e-3, decay_epoch=1)
    groups = learner.groups()[MASKS].param_groups
    learner.passes(0)
    assert [group["lr"] for group in groups] == [1e-3]
    learner.passes(1)
    assert [group["lr"] for group in groups] == [pytest.approx(1e-4)]
    move(space, supernet, learner)
    assert (learner.operations == 1e-2).all()
    assert all((mask == 1e-2).all() for mask in learner.weights.values())
    assert not (learner.edges == 1e-2).all()


def test_micro_batches_give_the_gradient_of_the_batch(space: CellSpace) -> None:
    def gradient(parts: int) -> Tensor:
        torch.manual_seed(0)
        supernet = space.supernet().eval()
        learner = new_learner(space)
        groups = learner.groups()
        ((update,),) = learner.passes(0)
        batches = split_batch(torch.randn(8, 3, 8, 8), torch.arange(8) % 3, parts)
        update.accumulate(TrainingStep(space, supernet, batches, np.random.default_rng(0), functional.cross_entropy))
        assert set(groups) == {MASKS}
        assert learner.operations.grad is not None
        return learner.operations.grad

    torch.testing.assert_close(gradient(1), gradient(4))


def test_all_convolutions_and_the_classifier_have_masks(space: CellSpace, supernet: Supernet) -> None:
    learner = new_learner(space)
    weights = {key: value for key, value in supernet.named_parameters() if value.dim() > 1}
    assert {key.replace("/", ".") for key in learner.weights} == set(weights)
    assert all(learner.weights[key.replace(".", "/")].shape == value.shape for key, value in weights.items())


def test_tuning_keeps_masked_weights_at_zero(space: CellSpace, supernet: Supernet) -> None:
    weights = [weight for weight in supernet.parameters() if has_mask(weight)]
    with torch.no_grad():
        for weight in weights:
            weight.flatten()[::2] = 0
    before = [weight.detach().clone() for weight in weights]
    tuning = Tuning(mixture=tuple(map(tuple, (torch.tensor(OPERATIONS) * torch.tensor(EDGES)[:, None]).tolist())))
    for _ in range(2):
        move(space, supernet, tuning.begin(space, space.costs(), 0))
    for weight, old in zip(weights, before, strict=True):
        assert torch.equal(weight == 0, old == 0)
        assert not torch.equal(weight, old)


def test_nodes_without_inputs_are_named(space: CellSpace) -> None:
    learner = new_learner(space)
    with torch.no_grad():
        learner.edges[2:5] = 0
    assert nodes_without_inputs(space, derive_genotype(space, learner).architecture) == ["node3"]
    with torch.no_grad():
        learner.operations.zero_()
    with pytest.raises(UserError, match="node2, node3, node4, node5 lost all inputs"):
        derive_genotype(space, learner)


def test_the_compact_network_is_the_masked_supernet(space: CellSpace, supernet: Supernet) -> None:
    learner = new_learner(space)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for mask in learner.parameters():
            mask.copy_(1e-2 * (torch.rand(mask.shape, generator=generator) > 0.3))
    images = torch.randn(4, 3, 8, 8)
    weights = learner.masked_weights(dict(supernet.named_parameters()))
    supernet.eval()
    expected = torch.func.functional_call(
        Mixed(supernet), {f"supernet.{k}": v for k, v in weights.items()}, (images, learner.mixture())
    )
    genotype: Genotype = derive_genotype(space, learner)
    network = genotype.network().eval()
    network.load_state_dict(space.network_state(genotype.architecture, {**supernet.state_dict(), **weights}))
    torch.testing.assert_close(network(images), expected, rtol=1e-5, atol=1e-5)


def run_worker(rank: int) -> dict[str, Any]:
    torch.manual_seed(0)
    space = small_darts()
    supernet, learner = space.supernet(), new_learner(space)
    metrics = move(space, supernet, learner, parts=2, part=rank)
    return {"masks": dict(learner.state_dict()), "loss": metrics["loss"]}


def test_two_workers_agree_with_one_worker_and_two_micro_batches(
    space: CellSpace, supernet: Supernet, tmp_path: Path
) -> None:
    alone = new_learner(space)
    metrics = move(space, supernet, alone, parts=2)
    first, second = two_workers.run(run_worker, tmp_path)
    for name, value in alone.state_dict().items():
        assert torch.equal(first["masks"][name], second["masks"][name])
        torch.testing.assert_close(first["masks"][name], value, rtol=1e-4, atol=1e-6, msg=name)
    torch.testing.assert_close(first["loss"], metrics["loss"])
