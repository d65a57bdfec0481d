"""The continuous search of cells: HM-NAS's equations 1 and 2, the two updates, and the discrete architecture."""

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
from raynas.interfaces.objective import ARCHITECTURE, WEIGHTS, MicroBatch, TrainingStep, Update
from raynas.training.update import apply_update
from search_spaces import SearchSpace
from tests.support import two_workers
from tests.support.micro_batches import split_batch
from tuners.darts.cells import edges_by_node
from tuners.darts.weighted_mixture import Mixture, MixtureLearner

SKIP, CONV = 1, 3
"""Positions among the options none, skip_connect, nor_conv_1x1, nor_conv_3x3, avg_pool_3x3."""


@pytest.fixture
def space() -> SearchSpace:
    return nats_bench()


class Bench:
    """A supernet, a learner, their optimizers and a batch of each stream."""

    def __init__(self, space: SearchSpace, settings: Mixture, parts: int = 1, part: int | None = None) -> None:
        """Build the bench.

        Args:
            parts: the number of micro-batches of a batch.
            part: the only micro-batch that this bench holds; None holds all.
        """
        torch.manual_seed(0)
        self.space, self.supernet = space, space.supernet()
        self.learner = settings.begin(space, space.costs(), 0)
        sgd = torch.optim.SGD(self.supernet.parameters(), lr=0.1, momentum=0.9)
        self.optimizers = {WEIGHTS: sgd, **self.learner.groups()}
        held = slice(None) if part is None else slice(part, part + 1)
        self.streams = {name: self._batches(parts)[held] for name in ("train", "search")}

    def _batches(self, parts: int) -> list[MicroBatch]:
        return split_batch(torch.randn(8, 3, 8, 8), torch.arange(8) % 3, parts)

    def updates(self, epoch: int = 0) -> dict[str, Update]:
        (updates,) = self.learner.passes(epoch)
        return {update.parameters: update for update in updates}

    def step(self, update: Update, generator: Any = None) -> TrainingStep:
        beside = self.streams[update.beside] if update.beside else []
        generator = generator or np.random.default_rng(0)
        batches = self.streams[update.stream]
        weights = self.optimizers[WEIGHTS]
        return TrainingStep(self.space, self.supernet, batches, generator, functional.cross_entropy, beside, weights)

    def move(self, group: str, epoch: int = 0) -> dict[str, Tensor]:
        update = self.updates(epoch)[group]
        return apply_update(update, self.optimizers, 0.1, self.step(update)).metrics


def test_weights_follow_equations_1_and_2(space: SearchSpace) -> None:
    learner = Mixture(edges="softmax").begin(space, space.costs(), 0)
    with torch.no_grad():
        learner.alpha.zero_()
        learner.alpha[2, CONV] = math.log(4)
        learner.beta[:] = torch.tensor([5.0, 0, math.log(3), 0, math.log(2), 0])
    weights = learner.weights()
    assert weights[2].tolist() == pytest.approx([0.75 * share / 8 for share in (1, 1, 1, 4, 1)])
    assert weights.sum(dim=1).tolist() == pytest.approx([1, 0.25, 0.75, 0.25, 0.5, 0.25])


def test_raw_edges_weigh_beta_itself(space: SearchSpace) -> None:
    """FTSO algorithm 1, line 4: a node is the sum of its inputs' outputs, each times beta."""
    pruned = space.restrict({"node2.1": ["none"]})
    learner = Mixture(edges="raw").begin(pruned, pruned.costs(), 0)
    beta = torch.tensor([0.5, -2, 7, 0, 0.25, 3])
    with torch.no_grad():
        learner.alpha.zero_()
        learner.beta.copy_(beta)
    assert learner.edge_weights().tolist() == [0.5, -2, 0, 0, 0.25, 3]
    assert learner.weights()[[0, 1, 3, 4, 5]].tolist() == [
        [pytest.approx(float(beta[edge]) / 5)] * 5 for edge in (0, 1, 3, 4, 5)
    ]
    (gradient,) = torch.autograd.grad(learner.weights()[1].sum(), [learner.beta])
    assert gradient.tolist() == pytest.approx([0, 1, 0, 0, 0, 0])


def test_raw_edges_begin_around_0_with_a_deviation_of_a_thousandth() -> None:
    space = search_spaces.load("darts", operations=8, subset=False, cell_types="two")
    betas = [Mixture(edges="raw").begin(space, space.costs(), seed).edge_weights().detach() for seed in range(40)]
    drawn = torch.stack(betas)
    assert abs(float(drawn.mean())) < 2e-4
    assert float(drawn.std()) == pytest.approx(1e-3, rel=0.1)
    assert (drawn < 0).float().mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("ranking", ["edges", "operations"])
def test_raw_edges_are_ranked_with_their_sign_and_keep_their_strongest_operation(
    space: SearchSpace, ranking: str
) -> None:
    """Lines 8 to 11 prune edges below the second largest beta. An absolute value would drop node 3's second input."""
    learner = Mixture.model_validate({"edges": "raw", "rank_inputs_by": ranking}).begin(space, space.costs(), 0)
    with torch.no_grad():
        learner.alpha.zero_()
        learner.alpha[:, CONV] = 1
        learner.beta.copy_(torch.tensor([-1.0, -2, -3, -0.9, 0.1, 0.2]))
    assert learner.most_probable().indices == (CONV, CONV, CONV, 0, CONV, CONV)


def test_without_beta_edges_count_in_full_and_without_alpha_operations_weigh_the_same(space: SearchSpace) -> None:
    assert Mixture().begin(space, space.costs(), 0).weights().sum(dim=1).tolist() == pytest.approx([1] * 6)
    edges_alone = Mixture(operations=False, edges="softmax").begin(space, space.costs(), 0)
    assert edges_alone.operation_weights().flatten().tolist() == pytest.approx([0, *[0.25] * 4] * 6)
    assert not torch.allclose(edges_alone.edge_weights()[3:], torch.tensor(1 / 3), atol=1e-5)


def test_pruned_operations_and_edges_weigh_nothing(space: SearchSpace) -> None:
    pruned = space.restrict({"node2.1": ["none"], "node3.0": ["skip_connect", "nor_conv_3x3"]})
    learner = Mixture(edges="softmax").begin(pruned, pruned.costs(), 0)
    assert edges_by_node(pruned) == [[0], [1], [3, 4, 5]]
    assert learner.edge_weights()[:3].tolist() == [1, 1, 0]
    assert learner.weights()[3].nonzero().flatten().tolist() == [SKIP, CONV]


@pytest.mark.parametrize(
    ("settings", "learns"),
    [
        ({}, {"alpha"}),
        ({"edges": "softmax"}, {"alpha", "beta"}),
        ({"operations": False, "edges": "softmax"}, {"beta"}),
        ({"operations": False, "edges": "raw"}, {"beta"}),
        ({"edges": "softmax", "order": 2}, {"alpha", "beta"}),
    ],
)
def test_an_update_moves_the_architecture_or_the_weights(
    space: SearchSpace, settings: dict[str, Any], learns: set[str]
) -> None:
    bench = Bench(space, Mixture.model_validate(settings))
    weights = [parameter.clone() for parameter in bench.supernet.parameters()]
    before = {name: parameter.clone() for name, parameter in bench.learner.named_parameters()}
    assert bench.move(ARCHITECTURE).keys() == {"loss", "top1"}
    now = dict(bench.learner.named_parameters())
    assert {name for name in now if not torch.equal(now[name], before[name])} == learns
    assert all(map(torch.equal, weights, bench.supernet.parameters()))

    before = {name: parameter.clone() for name, parameter in bench.learner.named_parameters()}
    bench.move(WEIGHTS)
    assert all(torch.equal(now[name], before[name]) for name in now)
    assert not any(map(torch.equal, weights, bench.supernet.parameters()))


def test_the_architecture_moves_first_and_in_the_second_order_reads_the_weights_batch(
    space: SearchSpace,
) -> None:
    for settings, beside in ((Mixture(order=1), None), (Mixture(order=2), "train")):
        learner = settings.begin(space, space.costs(), 0)
        (updates,) = learner.passes(0)
        assert [(update.parameters, update.stream, update.beside) for update in updates] == [
            ("architecture", "search", beside),
            ("weights", "train", None),
        ]


def test_micro_batches_give_the_gradient_of_the_batch(space: SearchSpace) -> None:
    """Batch norm is in evaluation mode, because its training statistics differ between micro-batches."""
    gradients = []
    for parts in (1, 4):
        bench = Bench(space, Mixture(edges="softmax"), parts)
        bench.supernet.eval()
        update = bench.updates()[ARCHITECTURE]
        update.accumulate(bench.step(update))
        assert bench.learner.alpha.grad is not None
        gradients.append(bench.learner.alpha.grad)
    torch.testing.assert_close(*gradients)


def test_warm_up_moves_the_weights_alone_and_then_the_trigger_probability_falls_to_zero(space: SearchSpace) -> None:
    settings = Mixture(warmup_epochs=2, trigger_epochs=6)
    assert [settings.trigger_probability(epoch) for epoch in range(8)] == [0, 0, 1, 0.75, 0.5, 0.25, 0, 0]
    assert [Mixture(warmup_epochs=1).trigger_probability(epoch) for epoch in (0, 1, 99)] == [0, 1, 1]
    bench = Bench(space, settings)
    assert set(bench.updates(1)) == {WEIGHTS}
    update = bench.updates(3)[ARCHITECTURE]
    moved = []
    for seed in range(100):
        gradients = update.accumulate(bench.step(update, np.random.default_rng(seed)))
        moved.append(bool(gradients.metrics))
    assert 0.6 < np.mean(moved) < 0.9


def test_an_update_that_is_not_triggered_changes_nothing(space: SearchSpace) -> None:
    bench = Bench(space, Mixture(trigger_epochs=100))
    update = bench.updates(99)[ARCHITECTURE]
    before = bench.learner.alpha.clone()
    assert apply_update(update, bench.optimizers, 0.1, bench.step(update)).metrics == {}
    assert torch.equal(bench.learner.alpha, before)


def test_notes_hold_the_share_of_skip_connections(space: SearchSpace) -> None:
    learner = Mixture(inputs=None).begin(space, space.costs(), 0)
    with torch.no_grad():
        learner.alpha[:, CONV] = 1
        learner.alpha[0, SKIP] = 2
        learner.alpha[1, 0] = 2
    assert learner.notes() == {"skip_share": 0.2}


def test_initial_parameters_follow_from_the_seed(space: SearchSpace) -> None:
    def beta(seed: int) -> Tensor:
        learner: MixtureLearner = Mixture(edges="softmax").begin(space, space.costs(), seed)
        return learner.beta

    assert torch.equal(beta(1), beta(1))
    assert not torch.equal(beta(1), beta(2))


SECOND_ORDER = Mixture(order=2)


def nats_bench() -> SearchSpace:
    return search_spaces.load("nats-bench", cells=1, channels=4, resolution=8, num_classes=3)


def parameters_after_a_step(bench: Bench) -> dict[str, Tensor]:
    """Return all parameters after one update of the architecture and one of the weights."""
    for group in (ARCHITECTURE, WEIGHTS):
        bench.move(group)
    return {**dict(bench.supernet.named_parameters()), **dict(bench.learner.named_parameters())}


def run_worker(rank: int) -> dict[str, Any]:
    parameters = parameters_after_a_step(Bench(nats_bench(), SECOND_ORDER, 2, rank))
    return {"parameters": {key: value.detach() for key, value in parameters.items()}}


def test_two_workers_agree_with_one_worker_and_two_micro_batches(tmp_path: Path) -> None:
    """The second order looks ahead by a training step that all workers take together."""
    alone = parameters_after_a_step(Bench(nats_bench(), SECOND_ORDER, 2))
    for worker in two_workers.run(run_worker, tmp_path):
        for name, value in alone.items():
            torch.testing.assert_close(worker["parameters"][name], value, rtol=1e-4, atol=1e-6, msg=name)
