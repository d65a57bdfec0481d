"""DMaskingNAS: the cost factor, the updates of weights and theta, and workers that share a batch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

import search_spaces
from raynas.interfaces.objective import ARCHITECTURE, WEIGHTS, TrainingStep
from raynas.training.update import apply_update
from search_spaces import LatencyTable, SearchSpace
from tests.support import two_workers
from tests.support.micro_batches import split_batch
from tests.support.small_spaces import one_hot
from tuners.dmasking.masked_mixture import MaskedMixture
from tuners.gumbel_softmax import gumbel_softmax

SETTINGS = MaskedMixture(warmup_epochs=1, architecture_learning_rate=0.1)
TIMED = {WEIGHTS: 0, ARCHITECTURE: 1}
"""The pass of each group of parameters."""


def small_space() -> SearchSpace:
    return search_spaces.load(
        "fbnetv2-f",
        width=0.25,
        resolution=8,
        stem_stride=1,
        num_classes=3,
        repeats=[0, 1, 1, 0, 0, 0, 0, 0, 0, 0],
        stage_strides=[1, 2, *[1] * 8],
    )


class Bench:
    """A supernet with frozen batch norms, a learner, their optimizers and one batch."""

    def __init__(self, settings: MaskedMixture = SETTINGS, parts: int = 1, part: int | None = None) -> None:
        """Build the bench.

        Args:
            parts: the number of micro-batches of a batch.
            part: the only micro-batch that this bench holds; None holds all.
        """
        torch.manual_seed(0)
        self.space = small_space()
        self.supernet = self.space.supernet().eval()
        for module in self.supernet.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
        self.learner = settings.begin(self.space, self.space.costs(), 0)
        self.optimizers = {WEIGHTS: torch.optim.SGD(self.supernet.parameters(), lr=0.1), **self.learner.groups()}
        batches = split_batch(torch.randn(8, 3, 8, 8), torch.arange(8) % 3, parts)
        self.batches = batches if part is None else batches[part : part + 1]

    def training_step(self, seed: int = 3) -> TrainingStep:
        generator = np.random.default_rng(seed)
        return TrainingStep(self.space, self.supernet, self.batches, generator, functional.cross_entropy)

    def move(self, group: str, epoch: int = 1, seed: int = 3) -> dict[str, Tensor]:
        (update,) = self.learner.passes(epoch)[TIMED[group]]
        assert update.parameters == group
        return apply_update(update, self.optimizers, 0.1, self.training_step(seed)).metrics

    def state(self) -> dict[str, Tensor]:
        parameters = {**dict(self.supernet.named_parameters()), **dict(self.learner.named_parameters())}
        return {name: value.detach().clone() for name, value in parameters.items()}


@pytest.mark.parametrize("resource", ["macs", "params"])
def test_the_cost_factor_of_one_architecture_follows_from_its_exact_cost(resource: str) -> None:
    """FBNet's loss: alpha x log(cost)^beta."""
    space = small_space()
    settings = MaskedMixture(resource=resource, cost_scale=0.3, cost_exponent=1.5)
    architecture = space.sample(np.random.default_rng(0))
    factor, cost = settings.begin(space, space.costs(), 0).cost_factor(one_hot(space, architecture).double())
    exact = space.costs().cost([architecture])[resource].item()
    assert cost.item() == exact
    assert factor.item() == pytest.approx(0.3 * math.log(exact) ** 1.5)


def test_latency_counts_in_microseconds_so_that_its_logarithm_is_positive() -> None:
    space = small_space()
    table = LatencyTable(dict.fromkeys(space.latency_blocks(), 0.01), "the table of this test")
    learner = MaskedMixture(resource="latency_ms").begin(space, space.costs(latency=table), 0)
    factor, cost = learner.cost_factor(learner.probabilities())
    assert 0 < cost.item() < 0.1
    assert factor.item() == pytest.approx(0.2 * math.log(1000 * cost.item()) ** 0.6, rel=1e-5)


def test_the_temperature_falls_every_epoch_and_does_not_depend_on_restarts() -> None:
    learner = MaskedMixture().begin(small_space(), small_space().costs(), 0)
    seen = []
    for epoch in (0, 1, 1, 90):
        learner.passes(epoch)
        seen.append(float(learner.temperature))
    assert seen == pytest.approx([5.0, 4.78, 4.78, 5 * 0.956**90])


def test_a_warm_up_moves_the_weights_and_then_passes_alternate() -> None:
    learner = Bench().learner
    streams = [
        [[(update.parameters, update.stream) for update in updates] for updates in learner.passes(epoch)]
        for epoch in (0, 1)
    ]
    assert streams == [[[(WEIGHTS, "train")]], [[(WEIGHTS, "train")], [(ARCHITECTURE, "search")]]]


def test_an_update_moves_the_weights_or_theta() -> None:
    bench = Bench()
    for group in (WEIGHTS, ARCHITECTURE):
        before = bench.state()
        metrics = bench.move(group)
        assert metrics.keys() == {"loss", "top1", *(["cost"] if group == ARCHITECTURE else [])}
        moved = {name for name, value in bench.state().items() if not torch.equal(value, before[name])}
        assert ("theta" in moved) == (group == ARCHITECTURE)
        assert (moved == {"theta"}) == (group == ARCHITECTURE)


@pytest.mark.parametrize("parts", [1, 4])
def test_theta_gets_the_gradient_of_the_product_of_cross_entropy_and_cost_factor(parts: int) -> None:
    """Micro-batches give the gradient of the whole batch."""
    bench = Bench(MaskedMixture(warmup_epochs=0, cost_exponent=3.0), parts)
    (update,) = bench.learner.passes(0)[1]
    update.accumulate(bench.training_step())
    theta = bench.learner.theta.detach().clone().requires_grad_()
    weights = gumbel_softmax(theta, 5.0, bench.learner.is_surviving, np.random.default_rng(3))
    (whole,) = Bench().batches
    loss = functional.cross_entropy(bench.supernet.mixed(whole.images, weights), whole.labels)
    cost = bench.space.costs().expected(weights)["macs"]
    torch.autograd.backward(loss * 0.2 * torch.log(cost) ** 3.0)
    torch.testing.assert_close(bench.learner.theta.grad, theta.grad, rtol=1e-4, atol=1e-6)


def test_a_large_exponent_leads_to_cheap_architectures() -> None:
    bench = Bench(MaskedMixture(warmup_epochs=0, cost_exponent=30.0, cost_scale=1e-30, architecture_learning_rate=0.1))
    least, greatest = bench.space.costs().bounds()["macs"]
    before = bench.space.costs().expected(bench.learner.probabilities())["macs"].item()
    for seed in range(60):
        bench.move(ARCHITECTURE, seed=seed)
    after = bench.space.costs().expected(bench.learner.probabilities())["macs"].item()
    assert after < before - 0.2 * (greatest - least)


def test_pruned_options_weigh_nothing_and_are_never_the_most_probable() -> None:
    space = small_space().restrict({"row2.kernel": ["k3", "k5"], "row3.channels": ["c20"]})
    learner = SETTINGS.begin(space, space.costs(), 0)
    with torch.no_grad():
        learner.theta[0, 0] = 9.0
    assert learner.probabilities()[0].tolist()[:3] == [0, 0.5, 0.5]
    assert learner.most_probable() in space
    assert learner.notes()["entropy"] == pytest.approx(math.log(space.size()), rel=1e-5)


def moved_state(parts: int, part: int | None = None) -> dict[str, Tensor]:
    bench = Bench(parts=parts, part=part)
    for seed in range(2):
        for group in (WEIGHTS, ARCHITECTURE):
            bench.move(group, seed=seed)
    return bench.state()


def test_equal_seeds_give_equal_bits() -> None:
    first, second = moved_state(1), moved_state(1)
    assert all(torch.equal(first[name], second[name]) for name in first)


def run_worker(rank: int) -> dict[str, Any]:
    return moved_state(2, part=rank)


def test_two_workers_agree_with_one(tmp_path: Path) -> None:
    alone = moved_state(2)
    for worker in two_workers.run(run_worker, tmp_path):
        for name, value in alone.items():
            torch.testing.assert_close(worker[name], value, rtol=1e-4, atol=1e-6)
