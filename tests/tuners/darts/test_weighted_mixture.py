"""Continuous cell search: HM-NAS's equations 1 and 2, what each step moves, and the discrete architecture."""

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
from tuners.darts.weighted_mixture import Mixture, MixtureLearner, discrete, nodes, strongest

SKIP, CONV = 1, 3
"""Of the options none, skip_connect, nor_conv_1x1, nor_conv_3x3, avg_pool_3x3."""


@pytest.fixture
def space() -> SearchSpace:
    return nats_bench()


def _only(part: int | None) -> slice:
    return slice(None) if part is None else slice(part, part + 1)


class Bench:
    """A supernet, a learner, their optimizers and a batch of each stream."""

    def __init__(self, space: SearchSpace, settings: Mixture, parts: int = 1, part: int | None = None) -> None:
        """With batches in so many parts, of which the bench holds one alone where it is given."""
        torch.manual_seed(0)
        self.space, self.supernet = space, space.supernet()
        self.learner = settings.begin(space, space.costs(), 0)
        sgd = torch.optim.SGD(self.supernet.parameters(), lr=0.1, momentum=0.9)
        self.optimizers = {WEIGHTS: sgd, **self.learner.groups()}
        self.streams = {name: self._batches(parts)[_only(part)] for name in ("train", "search")}

    def _batches(self, parts: int) -> list[MicroBatch]:
        images, labels, share = torch.randn(8, 3, 8, 8), torch.arange(8) % 3, 8 // parts
        return [MicroBatch(images[i : i + share], labels[i : i + share], share / 8) for i in range(0, 8, share)]

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


def test_the_weights_are_those_of_equations_1_and_2(space: SearchSpace) -> None:
    learner = Mixture(edges="softmax").begin(space, space.costs(), 0)
    with torch.no_grad():
        learner.alpha.zero_()
        learner.alpha[2, CONV] = math.log(4)
        learner.beta[:] = torch.tensor([5.0, 0, math.log(3), 0, math.log(2), 0])
    weights = learner.weights()
    assert weights[2].tolist() == pytest.approx([0.75 * share / 8 for share in (1, 1, 1, 4, 1)])
    assert weights.sum(dim=1).tolist() == pytest.approx([1, 0.25, 0.75, 0.25, 0.5, 0.25])


def test_without_beta_every_edge_counts_in_full_and_without_alpha_all_operations_the_same(space: SearchSpace) -> None:
    assert Mixture().begin(space, space.costs(), 0).weights().sum(dim=1).tolist() == pytest.approx([1] * 6)
    edges_alone = Mixture(operations=False, edges="softmax").begin(space, space.costs(), 0)
    assert edges_alone.operation_weights().flatten().tolist() == pytest.approx([0, *[0.25] * 4] * 6)
    assert not torch.allclose(edges_alone.edge_weights()[3:], torch.tensor(1 / 3), atol=1e-5)


def test_pruned_operations_and_edges_have_no_share(space: SearchSpace) -> None:
    pruned = space.restrict({"node2.1": ["none"], "node3.0": ["skip_connect", "nor_conv_3x3"]})
    learner = Mixture(edges="softmax").begin(pruned, pruned.costs(), 0)
    assert nodes(pruned) == [[0], [1], [3, 4, 5]]
    assert learner.edge_weights()[:3].tolist() == [1, 1, 0]
    assert learner.weights()[3].nonzero().flatten().tolist() == [SKIP, CONV]


@pytest.mark.parametrize(
    ("settings", "learnt"),
    [
        ({}, {"alpha"}),
        ({"edges": "softmax"}, {"alpha", "beta"}),
        ({"operations": False, "edges": "softmax"}, {"beta"}),
        ({"edges": "softmax", "order": 2}, {"alpha", "beta"}),
    ],
)
def test_a_step_moves_the_architecture_or_the_weights(
    space: SearchSpace, settings: dict[str, Any], learnt: set[str]
) -> None:
    bench = Bench(space, Mixture.model_validate(settings))
    weights = [parameter.clone() for parameter in bench.supernet.parameters()]
    before = {name: parameter.clone() for name, parameter in bench.learner.named_parameters()}
    assert bench.move(ARCHITECTURE).keys() == {"loss", "top1"}
    now = dict(bench.learner.named_parameters())
    assert {name for name in now if not torch.equal(now[name], before[name])} == learnt
    assert all(map(torch.equal, weights, bench.supernet.parameters()))

    before = {name: parameter.clone() for name, parameter in bench.learner.named_parameters()}
    bench.move(WEIGHTS)
    assert all(torch.equal(now[name], before[name]) for name in now)
    assert not any(map(torch.equal, weights, bench.supernet.parameters()))


def test_the_architecture_moves_before_the_weights_and_reads_their_batch_where_it_looks_ahead(
    space: SearchSpace,
) -> None:
    for settings, beside in ((Mixture(order=1), None), (Mixture(order=2), "train")):
        learner = settings.begin(space, space.costs(), 0)
        (updates,) = learner.passes(0)
        assert [(one.parameters, one.stream, one.beside) for one in updates] == [
            ("architecture", "search", beside),
            ("weights", "train", None),
        ]


def test_micro_batches_give_the_gradient_of_the_whole(space: SearchSpace) -> None:
    """Batch norm in evaluation mode, as its statistics are the micro-batch's own."""
    gradients = []
    for parts in (1, 4):
        bench = Bench(space, Mixture(edges="softmax"), parts)
        bench.supernet.eval()
        update = bench.updates()[ARCHITECTURE]
        update.accumulate(bench.step(update))
        assert bench.learner.alpha.grad is not None
        gradients.append(bench.learner.alpha.grad)
    torch.testing.assert_close(*gradients)


def test_warm_epochs_move_the_weights_alone_and_then_the_chance_falls_to_zero(space: SearchSpace) -> None:
    settings = Mixture(warm_epochs=2, trigger_epochs=6)
    assert [settings.chance(epoch) for epoch in range(8)] == [0, 0, 1, 0.75, 0.5, 0.25, 0, 0]
    assert [Mixture(warm_epochs=1).chance(epoch) for epoch in (0, 1, 99)] == [0, 1, 1]
    bench = Bench(space, settings)
    assert set(bench.updates(1)) == {WEIGHTS}
    update = bench.updates(3)[ARCHITECTURE]
    moved = []
    for seed in range(100):
        gradients = update.accumulate(bench.step(update, np.random.default_rng(seed)))
        moved.append(bool(gradients.metrics))
    assert 0.6 < np.mean(moved) < 0.9


def test_a_step_left_out_changes_nothing(space: SearchSpace) -> None:
    bench = Bench(space, Mixture(trigger_epochs=100))
    update = bench.updates(99)[ARCHITECTURE]
    before = bench.learner.alpha.clone()
    assert apply_update(update, bench.optimizers, 0.1, bench.step(update)).metrics == {}
    assert torch.equal(bench.learner.alpha, before)


def test_a_node_keeps_its_two_strongest_inputs_and_each_edge_its_strongest_operation(space: SearchSpace) -> None:
    weights = torch.full((6, 5), 0.1)
    weights[:, 0] = 0.9  # `none` is no operation: it keeps no edge
    weights[0, CONV], weights[1, SKIP], weights[2, CONV] = 0.2, 0.3, 0.2
    weights[3, CONV], weights[4, SKIP], weights[5, 4] = 0.5, 0.3, 0.4
    assert str(discrete(space, weights, strongest(space, weights), inputs=2)) == (
        "nats-bench: |nor_conv_3x3~0|+|skip_connect~0|nor_conv_3x3~1|+|nor_conv_3x3~0|none~1|avg_pool_3x3~2|"
    )
    by_edge = torch.tensor([0, 0, 0, 0.1, 0.2, 0.3])
    assert str(discrete(space, weights, by_edge, inputs=1)) == (
        "nats-bench: |nor_conv_3x3~0|+|skip_connect~0|none~1|+|none~0|none~1|avg_pool_3x3~2|"
    )
    weights[1:5, 0] = 0
    assert str(discrete(space, weights, by_edge, inputs=None)) == (
        "nats-bench: |none~0|+|skip_connect~0|nor_conv_3x3~1|+|nor_conv_3x3~0|skip_connect~1|none~2|"
    )


def test_where_edges_take_subsets_a_node_keeps_two_as_well() -> None:
    space = search_spaces.load("darts", cells=3, channels=2, resolution=8)
    learner = Mixture(edges="softmax").begin(space, space.costs(), 3)
    taken = [choice.taken(value) for choice, value in zip(space.choices, learner.most_probable().indices, strict=True)]
    assert [sum(len(taken[edge]) for edge in edges) for edges in nodes(space)] == [2, 2, 2, 2]
    assert {len(options) for options in taken} == {0, 1}


def test_the_notes_tell_the_share_of_skip_connections(space: SearchSpace) -> None:
    learner = Mixture(inputs=None).begin(space, space.costs(), 0)
    with torch.no_grad():
        learner.alpha[:, CONV] = 1
        learner.alpha[0, SKIP] = 2
        learner.alpha[1, 0] = 2
    assert learner.notes() == {"skips": 0.2}


def test_the_beginning_follows_from_the_seed(space: SearchSpace) -> None:
    def beta(seed: int) -> Tensor:
        learner: MixtureLearner = Mixture(edges="softmax").begin(space, space.costs(), seed)
        return learner.beta

    assert torch.equal(beta(1), beta(1))
    assert not torch.equal(beta(1), beta(2))


SECOND_ORDER = Mixture(order=2)


def nats_bench() -> SearchSpace:
    return search_spaces.load("nats-bench", cells=1, channels=4, resolution=8, num_classes=3)


def moved(bench: Bench) -> dict[str, Tensor]:
    """What learns, after a step of the architecture and one of the weights."""
    for group in (ARCHITECTURE, WEIGHTS):
        bench.move(group)
    return {**dict(bench.supernet.named_parameters()), **dict(bench.learner.named_parameters())}


def one_of_two(rank: int) -> dict[str, Any]:
    return {"moved": {key: value.detach() for key, value in moved(Bench(nats_bench(), SECOND_ORDER, 2, rank)).items()}}


def test_two_workers_do_what_one_does_in_two_micro_batches(tmp_path: Path) -> None:
    """In the second order, too, which looks ahead by a step that all workers take together."""
    alone = moved(Bench(nats_bench(), SECOND_ORDER, 2))
    for found in two_workers.run(one_of_two, tmp_path):
        for name, value in alone.items():
            torch.testing.assert_close(found["moved"][name], value, rtol=1e-4, atol=1e-6, msg=name)
