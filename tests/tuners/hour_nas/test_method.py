"""HourNAS: the targets of a budget, and the two updates of a search."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

import search_spaces
from raynas.interfaces.objective import ARCHITECTURE, WEIGHTS, TrainingStep
from raynas.training.update import apply_update
from search_spaces import Budget, SearchSpace, UserError
from search_spaces.supernet import Supernet
from tests.support.micro_batches import split_batch
from tuners.hour_nas.method import count_changes, targets_of
from tuners.hour_nas.sampled_path import ProposalsLearner, SampledPath
from tuners.hour_nas.settings import Temperature

TARGETS = {"macs": 250e3}


@pytest.fixture
def space() -> SearchSpace:
    return search_spaces.load("nas-bench-macro", width=0.125, resolution=16, num_classes=3)


class Bench:
    """A supernet, a learner, their optimizers and one batch."""

    def __init__(self, space: SearchSpace, settings: SampledPath, micro_batches: int = 1) -> None:
        torch.manual_seed(0)
        self.space = space
        self.supernet: Supernet = space.supernet()
        for module in self.supernet.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
        learner = settings.begin(space, space.costs(), 0)
        assert isinstance(learner, ProposalsLearner)
        self.learner = learner
        self.optimizers = {WEIGHTS: torch.optim.SGD(self.supernet.parameters(), lr=0.1), **learner.groups()}
        self.batches = split_batch(torch.randn(8, 3, 16, 16), torch.arange(8) % 3, micro_batches)

    def step(self, number: int, progress: float = 0.0) -> dict[str, Tensor]:
        """Make one training step of a pass: 0 moves the weights, 1 the architecture parameters."""
        (update,) = self.learner.passes(0)[number]
        generator = np.random.default_rng(3)
        step = TrainingStep(
            self.space, self.supernet, self.batches, generator, functional.cross_entropy, progress=progress
        )
        return apply_update(update, self.optimizers, 0.1, step).metrics


@pytest.mark.parametrize(
    "budget", [{}, {"macs": {"max": 1e6}}, {"macs": {"target": 1, "tolerance": 0.1}, "params": {"min": 1}}]
)
def test_a_budget_without_targets_is_refused(budget: dict[str, dict[str, float]]) -> None:
    with pytest.raises(UserError, match="HourNAS aims at targets"):
        targets_of(Budget.model_validate(budget))


def test_a_number_of_0_proposals_is_refused() -> None:
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        SampledPath(proposals=0)


def test_the_weights_update_moves_one_path_and_no_architecture_parameter(space: SearchSpace) -> None:
    bench = Bench(space, SampledPath(targets=TARGETS, proposals=2))
    before = {name: value.clone() for name, value in bench.supernet.named_parameters()}
    theta = bench.learner.theta.detach().clone()
    metrics = bench.step(0)
    moved = {name for name, value in bench.supernet.named_parameters() if not torch.equal(value, before[name])}
    assert any(name.startswith("stem") for name in moved)
    options = {name.split(".")[2] for name in moved if name.startswith("blocks.stage1-1.")}
    assert len(options) == 1
    assert torch.equal(bench.learner.theta, theta)
    assert metrics.keys() == {"loss", "top1"}


@pytest.mark.parametrize("sampling", ["gumbel-max", "gumbel-softmax", "softmax"])
def test_the_architecture_update_moves_theta_and_pi_and_no_weight(space: SearchSpace, sampling: str) -> None:
    settings = SampledPath.model_validate({"targets": TARGETS, "proposals": 2, "sampling": sampling})
    bench = Bench(space, settings)
    before = {name: value.clone() for name, value in bench.supernet.named_parameters()}
    theta, pi = bench.learner.theta.detach().clone(), bench.learner.pi.detach().clone()
    metrics = bench.step(1)
    assert all(torch.equal(value, before[name]) for name, value in bench.supernet.named_parameters())
    assert not torch.equal(bench.learner.theta, theta)
    assert not torch.equal(bench.learner.pi, pi)
    assert metrics.keys() == {"loss", "top1", "distance"}


def test_the_distance_is_the_distance_of_the_sampled_path(space: SearchSpace) -> None:
    bench = Bench(space, SampledPath(targets=TARGETS))
    (update,) = bench.learner.passes(0)[1]
    step = TrainingStep(space, bench.supernet, bench.batches, np.random.default_rng(3), functional.cross_entropy)
    gradients = update.accumulate(step)
    costs = space.costs().as_table()
    expected = abs(costs.cost(gradients.paths)["macs"].item() - 250e3) / costs.bounds()["macs"][1]
    assert gradients.metrics["distance"].item() == pytest.approx(expected, rel=1e-5)


def test_micro_batches_give_the_gradient_of_the_batch(space: SearchSpace) -> None:
    """Batch norm is in evaluation mode, because its training statistics differ between micro-batches."""
    gradients = []
    for parts in (1, 4):
        bench = Bench(space, SampledPath(targets=TARGETS, proposals=2), parts)
        bench.supernet.eval()
        (update,) = bench.learner.passes(0)[1]
        step = TrainingStep(space, bench.supernet, bench.batches, np.random.default_rng(3), functional.cross_entropy)
        update.accumulate(step)
        assert bench.learner.theta.grad is not None
        gradients.append(bench.learner.theta.grad)
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-6, rtol=1e-4)


def test_temperature_falls_with_every_update(space: SearchSpace) -> None:
    bench = Bench(space, SampledPath(temperature=Temperature(start=4.0, decay=0.5)))
    bench.step(0)
    bench.step(1)
    assert bench.learner.notes() == {"proposal": 0, "temperature": 1.0}


def test_a_temperature_with_an_end_depends_on_the_share_of_the_training_alone(space: SearchSpace) -> None:
    bench = Bench(space, SampledPath(temperature=Temperature(start=4.0, end=1.0)))
    for progress, temperature in ((0.0, 4.0), (0.0, 4.0), (0.5, 2.0), (1.0, 1.0)):
        bench.step(1, progress)
        assert bench.learner.notes()["temperature"] == pytest.approx(temperature)


def test_the_papers_decay_leaves_the_temperature_at_3_after_an_epoch_of_imagenet() -> None:
    """1,281,167 images, a fifth of them for validation, in batches of 256."""
    updates = 1_281_167 * 4 // 5 // 256 + 1_281_167 // 5 // 256
    assert SampledPath().temperature.at(updates, progress=1.0) == pytest.approx(3.03, abs=0.005)


@pytest.mark.parametrize("temperature", [{"start": 5.0}, {"decay": 0.9, "end": 0.1}])
def test_a_temperature_takes_either_decay_or_end(temperature: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="give either decay or end"):
        SampledPath.model_validate({"temperature": temperature})


def test_changes_are_the_choices_that_differ_from_the_raw_mode(space: SearchSpace) -> None:
    raw_mode, found = space.architecture([2] * 8), space.architecture([2, 2, 1, 2, 0, 2, 2, 2])
    assert count_changes(raw_mode, found) == 2


def test_architecture_parameters_are_a_group(space: SearchSpace) -> None:
    assert SampledPath().begin(space, space.costs(), 0).groups().keys() == {ARCHITECTURE}
