"""FP-NAS: how many architectures a step draws, what it moves, and what workers that share its networks come to."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

import search_spaces
from raynas.interfaces.objective import ARCHITECTURE, WEIGHTS, MicroBatch, TrainingStep
from raynas.training.all_reduce import sum_over_workers
from raynas.training.update import apply_update
from search_spaces import Budget, SearchSpace, UserError
from search_spaces.supernet import Supernet
from tests.support import two_workers
from tuners.fp_nas.drawn_paths import Distribution, DrawnPaths
from tuners.fp_nas.method import Parsec, targets_of
from tuners.fp_nas.sample_count import EntropySamples, FixedSamples

SETTINGS = DrawnPaths(
    targets={"macs": 200e3},
    samples=FixedSamples(count=5),
    distribution="mixed",
    warmup_epochs=1,
    joint_from=2,
    architecture_learning_rate=0.1,
)


def small_space() -> SearchSpace:
    return search_spaces.load("nas-bench-macro", width=0.125, resolution=16, num_classes=3)


class Bench:
    """A supernet, a learner, their optimizers and one batch, which a worker sees whole or in part."""

    def __init__(
        self, settings: DrawnPaths = SETTINGS, rank: int = 0, workers: int = 1, micro_batches: int = 1
    ) -> None:
        torch.manual_seed(0)
        self.space = small_space()
        self.supernet: Supernet = self.space.supernet()
        self.learner: Distribution = settings.begin(self.space, self.space.costs(), 0)
        self.optimizers = {WEIGHTS: torch.optim.SGD(self.supernet.parameters(), lr=0.1), **self.learner.groups()}
        self.rank, self.workers, self.parts = rank, workers, micro_batches
        generator = torch.Generator().manual_seed(1)
        self.images, self.labels = torch.randn(8, 3, 16, 16, generator=generator), torch.arange(8) % 3

    def step(self, epoch: int, seed: int = 3) -> dict[str, dict[str, Tensor]]:
        """All updates of one step of an epoch; returns the metrics of each group of parameters."""
        generator = np.random.default_rng(seed)
        found = {}
        for update in self.learner.passes(epoch)[0]:
            share = 8 // self.parts
            batches = [
                MicroBatch(self.images[at : at + share], self.labels[at : at + share], share / 8)
                for at in range(0, 8, share)
            ]
            step = TrainingStep(
                self.space,
                self.supernet,
                batches,
                generator,
                functional.cross_entropy,
                rank=self.rank,
                workers=self.workers,
                sum_over_workers=sum_over_workers,
            )
            found[update.parameters] = apply_update(update, self.optimizers, 0.1, step).metrics
        return found

    def state(self) -> dict[str, Tensor]:
        parameters = {**dict(self.supernet.named_parameters()), **dict(self.learner.named_parameters())}
        return {name: value.detach().clone() for name, value in parameters.items()}


def test_k_follows_the_entropy() -> None:
    draw = EntropySamples(per_nat=0.25)
    assert [draw(entropy) for entropy in (56.25, 16.1, 8.0, 7.99, 0.1, 0.0)] == [14, 4, 2, 1, 1, 1]
    assert FixedSamples(count=14)(0.1) == 14


@pytest.mark.parametrize(("per_nat", "count"), [(1 / 16, 3), (1 / 8, 7), (1 / 4, 14), (1 / 2, 28)])
@pytest.mark.parametrize("distribution", ["joint", "factorised"])
def test_the_first_step_in_the_papers_space_draws_as_many_as_the_paper_says(
    per_nat: float, count: int, distribution: str
) -> None:
    space = search_spaces.load("fbnetv2-f")
    settings = DrawnPaths.model_validate({"samples": {"per_nat": per_nat}, "distribution": distribution})
    learner = settings.begin(space, space.costs(), 0)
    assert learner.networks(epoch=44) is None
    assert learner.networks(epoch=45) == count
    assert learner.notes()["entropy"] == pytest.approx(56.25, abs=0.005)


def test_the_warm_up_moves_one_path_and_no_distribution() -> None:
    bench = Bench()
    before = bench.state()
    assert bench.step(epoch=0).keys() == {WEIGHTS}
    moved = {name for name, value in bench.state().items() if not torch.equal(value, before[name])}
    assert any(name.startswith("stem") for name in moved)
    assert len({name.split(".")[2] for name in moved if name.startswith("blocks.stage1-1.")}) == 1
    assert not any(name.startswith("logits") for name in moved)
    assert bench.learner.notes()["drawn"] == 1


def test_a_step_moves_the_distribution_in_use_and_the_weights_of_what_it_draws() -> None:
    bench = Bench()
    before = bench.state()
    found = bench.step(epoch=1)
    assert list(found) == [ARCHITECTURE, WEIGHTS]
    assert float(found[ARCHITECTURE]["samples"]) == 5
    assert float(found[ARCHITECTURE]["entropy"]) == pytest.approx(np.log(bench.space.size()), rel=1e-5)
    moved = {name for name, value in bench.state().items() if not torch.equal(value, before[name])}
    assert "logits.factorised" in moved
    assert "logits.joint" not in moved
    assert any(name.startswith("blocks") for name in moved)


def test_it_becomes_joint_at_theta_without_any_probability_changing() -> None:
    bench = Bench()
    bench.step(epoch=1)
    learner = bench.learner
    every = torch.tensor([bench.space.sample(np.random.default_rng(seed)).indices for seed in range(50)])
    before = learner.factors.log_probability(learner.logits[learner.kind], every)
    most_probable = learner.most_probable()
    bench.step(epoch=2)
    assert learner.kind == "joint"
    moments = bench.optimizers[ARCHITECTURE].state[learner.logits["joint"]]
    assert int(moments["step"]) == 1, "Adam begins anew"
    fresh = Bench()
    fresh.step(epoch=1)
    fresh.learner.passes(2)
    after = fresh.learner.factors.log_probability(fresh.learner.logits["joint"], every)
    torch.testing.assert_close(after, before)
    assert fresh.learner.most_probable() == most_probable


def test_micro_batches_give_the_losses_of_networks_on_the_whole_batch() -> None:
    """Batch statistics are a micro-batch's; with frozen ones the step is the same to rounding."""
    found = []
    for parts in (1, 4):
        bench = Bench(micro_batches=parts)
        for module in bench.supernet.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
        bench.step(epoch=1)
        found.append(bench.state())
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-4, atol=1e-6)


def share_networks(rank: int) -> dict[str, Any]:
    bench = Bench(rank=rank, workers=2)
    told = [bench.step(epoch, seed) for seed, epoch in enumerate((1, 1, 2))]
    return {"state": bench.state(), "metrics": told}


def test_two_workers_that_share_the_networks_do_what_one_does(tmp_path: Path) -> None:
    both = two_workers.run(share_networks, tmp_path)
    alone = Bench()
    told = [alone.step(epoch, seed) for seed, epoch in enumerate((1, 1, 2))]
    for found in both:
        for name, value in alone.state().items():
            torch.testing.assert_close(found["state"][name], value, rtol=1e-4, atol=1e-6)
        for mine, theirs in zip(told, found["metrics"], strict=True):
            for group, metrics in mine.items():
                for name, value in metrics.items():
                    assert float(theirs[group][name]) == pytest.approx(float(value), rel=1e-4), (group, name)


def test_parsec_draws_a_fixed_number_from_a_joint_distribution() -> None:
    method = Parsec()
    assert method.samples == FixedSamples(count=16)
    assert method.distribution == "joint"


@pytest.mark.parametrize("budget", [{"macs": {"min": 1}}, {"macs": {"max": 5}, "params": {"min": 1}}])
def test_a_limit_without_an_upper_end_is_refused(budget: dict[str, dict[str, float]]) -> None:
    with pytest.raises(UserError, match="FP-NAS penalises what costs more than a target"):
        targets_of(Budget.model_validate(budget))


def test_targets_are_upper_limits() -> None:
    limits = {"macs": {"max": "60M"}, "params": {"target": "5M", "tolerance": 0.1}}
    assert targets_of(Budget.model_validate(limits)) == {"macs": 60e6, "params": 5e6}
