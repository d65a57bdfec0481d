"""FP-NAS: the sample size, the two updates of a training step, and workers that share networks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

import search_spaces
from benchmarks.speed.in_process import run_in_process
from raynas.interfaces.objective import ARCHITECTURE, WEIGHTS, TrainingStep
from raynas.recipe.recipe import Recipe
from raynas.training.all_reduce import sum_over_workers
from raynas.training.update import apply_update
from search_spaces import Budget, SearchSpace, UserError
from search_spaces.supernet import Supernet
from tests.support import two_workers
from tests.support.micro_batches import split_batch
from tests.support.pretended_gpu import pretended_gpu
from tuners.fp_nas.drawn_paths import DrawnPaths, DrawnPathsLearner
from tuners.fp_nas.method import Parsec, targets_of
from tuners.fp_nas.sample_size import AdaptiveSampling, FixedSampling
from tuners.fp_nas.shared_networks import share_networks

SETTINGS = DrawnPaths(
    targets={"macs": 200e3},
    sample_size=FixedSampling(fixed=5),
    distribution="mixed",
    warmup_epochs=1,
    joint_from=2,
    architecture_learning_rate=0.1,
)


def small_space() -> SearchSpace:
    return search_spaces.load("nas-bench-macro", width=0.125, resolution=16, num_classes=3)


class Bench:
    """A supernet, a learner, their optimizers and one batch."""

    def __init__(
        self, settings: DrawnPaths = SETTINGS, rank: int = 0, workers: int = 1, micro_batches: int = 1
    ) -> None:
        torch.manual_seed(0)
        self.space = small_space()
        self.supernet: Supernet = self.space.supernet()
        self.learner: DrawnPathsLearner = settings.begin(self.space, self.space.costs(), 0)
        self.optimizers = {WEIGHTS: torch.optim.SGD(self.supernet.parameters(), lr=0.1), **self.learner.groups()}
        self.rank, self.workers, self.parts = rank, workers, micro_batches
        generator = torch.Generator().manual_seed(1)
        self.images, self.labels = torch.randn(8, 3, 16, 16, generator=generator), torch.arange(8) % 3

    def step(self, epoch: int, seed: int = 3) -> dict[str, dict[str, Tensor]]:
        """Make all updates of one training step, and return the metrics of each group of parameters."""
        generator = np.random.default_rng(seed)
        metrics = {}
        for update in self.learner.passes(epoch)[0]:
            batches = split_batch(self.images, self.labels, self.parts)
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
            metrics[update.parameters] = apply_update(update, self.optimizers, 0.1, step).metrics
        return metrics

    def state(self) -> dict[str, Tensor]:
        parameters = {**dict(self.supernet.named_parameters()), **dict(self.learner.named_parameters())}
        return {name: value.detach().clone() for name, value in parameters.items()}


def test_the_sample_size_follows_the_entropy() -> None:
    sample_size = AdaptiveSampling(per_nat=0.25)
    assert [sample_size(entropy) for entropy in (56.25, 16.1, 8.0, 7.99, 0.1, 0.0)] == [14, 4, 2, 1, 1, 1]
    assert FixedSampling(fixed=14)(0.1) == 14


@pytest.mark.parametrize(("per_nat", "count"), [(1 / 16, 3), (1 / 8, 7), (1 / 4, 14), (1 / 2, 28)])
@pytest.mark.parametrize("distribution", ["joint", "factorised"])
def test_the_first_sample_size_in_the_papers_space_is_the_papers(per_nat: float, count: int, distribution: str) -> None:
    space = search_spaces.load("fbnetv2-f")
    settings = DrawnPaths.model_validate(
        {"sample_size": {"per_nat": per_nat}, "distribution": distribution, "return_workers": True}
    )
    learner = settings.begin(space, space.costs(), 0)
    assert learner.networks(epoch=44) is None
    assert learner.networks(epoch=45) == count
    assert learner.notes()["entropy"] == pytest.approx(56.25, abs=0.005)


def test_warm_up_moves_one_path_and_no_distribution() -> None:
    bench = Bench()
    before = bench.state()
    assert bench.step(epoch=0).keys() == {WEIGHTS}
    moved = {name for name, value in bench.state().items() if not torch.equal(value, before[name])}
    assert any(name.startswith("stem") for name in moved)
    assert len({name.split(".")[2] for name in moved if name.startswith("blocks.stage1-1.")}) == 1
    assert not any(name.startswith("distribution") for name in moved)
    assert bench.learner.notes()["total_samples"] == 1


def test_a_warm_up_of_several_samples_moves_them_by_equation_3() -> None:
    bench = Bench(SETTINGS.model_copy(update={"warmup_samples": 4}))
    before = bench.state()
    assert bench.step(epoch=0).keys() == {WEIGHTS}
    moved = {name for name, value in bench.state().items() if not torch.equal(value, before[name])}
    assert len({name.split(".")[2] for name in moved if name.startswith("blocks.stage1-1.")}) > 1
    assert not any(name.startswith("distribution") for name in moved)
    assert bench.learner.notes()["total_samples"] == 4


def test_a_step_moves_the_distribution_in_use_and_the_weights_of_its_samples() -> None:
    bench = Bench()
    before = bench.state()
    metrics = bench.step(epoch=1)
    assert list(metrics) == [ARCHITECTURE, WEIGHTS]
    assert float(metrics[ARCHITECTURE]["sample_size"]) == 5
    assert float(metrics[ARCHITECTURE]["entropy"]) == pytest.approx(np.log(bench.space.size()), rel=1e-5)
    moved = {name for name, value in bench.state().items() if not torch.equal(value, before[name])}
    assert "distribution.logits.factorised" in moved
    assert "distribution.logits.joint" not in moved
    assert any(name.startswith("blocks") for name in moved)


def test_the_distribution_becomes_joint_at_theta_and_no_probability_changes() -> None:
    bench = Bench()
    bench.step(epoch=1)
    distribution = bench.learner.distribution
    architectures = torch.tensor([bench.space.sample(np.random.default_rng(seed)).indices for seed in range(50)])
    before = distribution.log_probability(architectures)
    most_probable = distribution.most_probable()
    bench.step(epoch=2)
    assert distribution.kind == "joint"
    moments = bench.optimizers[ARCHITECTURE].state[distribution.logits["joint"]]
    assert int(moments["step"]) == 1, "Adam begins anew"
    fresh = Bench()
    fresh.step(epoch=1)
    fresh.learner.passes(2)
    after = fresh.learner.distribution.log_probability(architectures)
    torch.testing.assert_close(after, before)
    assert fresh.learner.most_probable() == most_probable


def test_micro_batches_give_the_step_of_the_batch() -> None:
    """Batch norm's statistics are frozen, because they differ between micro-batches."""
    states = []
    for parts in (1, 4):
        bench = freeze_batch_norm(Bench(micro_batches=parts))
        bench.step(epoch=1)
        states.append(bench.state())
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-4, atol=1e-6)


def test_the_metrics_of_every_update_lie_beside_the_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers add gradients and metrics up in one tensor, so an entropy on the CPU stops them on GPUs."""
    bench = Bench()
    with pretended_gpu(monkeypatch) as gpu:
        for part in (bench.supernet, bench.learner):
            part.to(gpu)
        bench.images, bench.labels = bench.images.to(gpu), bench.labels.to(gpu)
        for epoch in (0, 1, 2):
            for metrics in bench.step(epoch).values():
                assert {name: value.device for name, value in metrics.items()} == dict.fromkeys(metrics, gpu)


def freeze_batch_norm(bench: Bench) -> Bench:
    """Let batch norm use its running statistics, which do not depend on how images are divided."""
    for module in bench.supernet.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    return bench


def run_worker(rank: int) -> dict[str, Any]:
    results: dict[str, Any] = {}
    for count in (5, 1):
        settings = SETTINGS.model_copy(update={"sample_size": FixedSampling(fixed=count)})
        bench = freeze_batch_norm(Bench(settings, rank=rank, workers=2, micro_batches=4))
        metrics = [bench.step(epoch, seed) for seed, epoch in enumerate((1, 1, 2))]
        results[str(count)] = {"state": bench.state(), "metrics": metrics}
    return results


def test_two_workers_that_share_networks_and_images_agree_with_one_worker(tmp_path: Path) -> None:
    """Each worker runs two of five networks, and half of the images of the fifth; or half of the images of one."""
    workers = two_workers.run(run_worker, tmp_path)
    for count in (5, 1):
        settings = SETTINGS.model_copy(update={"sample_size": FixedSampling(fixed=count)})
        alone = freeze_batch_norm(Bench(settings))
        metrics_alone = [alone.step(epoch, seed) for seed, epoch in enumerate((1, 1, 2))]
        for worker in (results[str(count)] for results in workers):
            for name, value in alone.state().items():
                torch.testing.assert_close(worker["state"][name], value, rtol=1e-4, atol=1e-6)
            for mine, theirs in zip(metrics_alone, worker["metrics"], strict=True):
                for group, metrics in mine.items():
                    for name, value in metrics.items():
                        assert float(theirs[group][name]) == pytest.approx(float(value), rel=1e-4), (group, name)


@pytest.mark.parametrize("workers", [1, 2, 3, 4])
@pytest.mark.parametrize("networks", [1, 2, 3, 5, 14])
def test_every_worker_runs_its_share_of_all_images(workers: int, networks: int) -> None:
    """Whole networks count as 12 images. No worker runs more than its group's images beyond the others."""
    images, labels = torch.arange(12.0)[:, None], torch.arange(12)
    seen = torch.zeros(networks, 12)
    work = []
    for rank in range(workers):
        step = TrainingStep(
            small_space(),
            small_space().supernet(),
            split_batch(images, labels, 3),
            np.random.default_rng(0),
            functional.cross_entropy,
            rank=rank,
            workers=workers,
        )
        whole, shared = share_networks(networks, step)
        work.append(12 * len(whole))
        for number in whole:
            seen[number] += 1
        if shared is not None:
            for batch in shared.micro_batches:
                assert batch.share == pytest.approx(len(batch.images) / 12)
                seen[shared.number, batch.images[:, 0].long()] += 1
                work[-1] += len(batch.images)
    assert (seen == 1).all(), "every network sees every image once"
    assert max(work) <= 12 * (networks // workers + (1 / max(1, workers // max(1, networks % workers))))


@pytest.mark.parametrize("final", ["within-budget", "most-probable"])
def test_the_search_ends_within_the_budget_or_with_the_most_probable_architecture(final: str, tmp_path: Path) -> None:
    """Section 3.4 against the limit. Almost no architecture meets this budget."""
    changes = ["method.epochs=2", "method.warmup_epochs=1", "method.joint_from=1", "training.steps=3"]
    changes += ["method.architecture_learning_rate=0.8", "budget.macs.max=410k", f"method.final={final}"]
    outcome = run_in_process(Recipe.read("fp-nas-digits", changes), tmp_path / "run", threads=1)
    most_probable = outcome.table[outcome.table["step"] == "distribution"].iloc[-1]
    (chosen,) = outcome.evaluated.to_dict("records")
    assert not most_probable["feasible"]
    assert chosen["feasible"] == (final == "within-budget")
    assert (chosen["architecture"] == most_probable["architecture"]) == (final == "most-probable")


def test_parsec_draws_a_fixed_number_from_a_joint_distribution() -> None:
    method = Parsec()
    assert method.sample_size == FixedSampling(fixed=16)
    assert method.distribution == "joint"


@pytest.mark.parametrize("budget", [{"macs": {"min": 1}}, {"macs": {"max": 5}, "params": {"min": 1}}])
def test_a_limit_without_an_upper_end_is_refused(budget: dict[str, dict[str, float]]) -> None:
    with pytest.raises(UserError, match="FP-NAS penalises what costs more than a target"):
        targets_of(Budget.model_validate(budget))


def test_targets_are_the_upper_ends_of_limits() -> None:
    limits = {"macs": {"max": "60M"}, "params": {"target": "5M", "tolerance": 0.1}}
    assert targets_of(Budget.model_validate(limits)) == {"macs": 60e6, "params": 5e6}
