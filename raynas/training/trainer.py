"""The loop that every Ray Train worker runs: it draws batches, adds up gradients and keeps checkpoints.

It knows no method, only an objective. Every draw is seeded by (seed, epoch, step) and never by worker, so that workers
agree on paths and batches without talking, and a step done again after a crash is the same step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from ray import train
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

import search_spaces
from raynas.data import Images, open_images, training_batch
from raynas.interfaces.costs import costs_of
from raynas.interfaces.objective import WEIGHTS, MicroBatch, Objective, TrainingStep
from raynas.results.evaluation_table import EvaluationTable
from raynas.runtime.process import is_out_of_memory, prepare_process
from raynas.storage import lock
from raynas.storage.run_folder import RunFolder
from raynas.storage.step_records import write_history
from raynas.storage.weights import LEARNER_FILE, WEIGHTS_FILE
from raynas.training import checkpoints
from raynas.training.all_reduce import from_first_worker, sum_over_workers
from raynas.training.divergence import Divergence, LossMonitor, check_weights_finite
from raynas.training.epoch_schedule import EpochSchedule
from raynas.training.job import (
    FAILURE_FILE,
    PROBABILITIES_FILE,
    PROGRESS_FILE,
    UNREADABLE_FILE,
    WORKERS_FILE,
    TrainingJob,
)
from raynas.training.learning_rate import epoch_batches, learning_rate
from raynas.training.metric_means import MetricMeans
from raynas.training.update import apply_update, make_optimizer
from search_spaces import SearchSpace
from search_spaces.supernet import Supernet

_PROGRESS_SECONDS = 1.0
_WATCH_STEPS = 50
_SHUFFLE, _VALIDATION = 1, 2
"""What sets these streams of random numbers apart from that of (seed, epoch, step)."""


class TooManyWorkers(Exception):
    """The steps to come keep fewer workers busy; the training goes on with them from its checkpoint."""

    def __init__(self, enough: int) -> None:
        super().__init__()
        self.enough = enough


def train_worker(config: dict[str, Any]) -> None:
    """Train to the end of the job, from its newest checkpoint; the first worker writes what comes of it."""
    job = TrainingJob.model_validate(config)
    prepare_process(job.threads, job.deterministic)
    lock.note_process(RunFolder(job.run), job.attempt)
    folder = RunFolder(job.run) / job.folder
    if folder.exists(FAILURE_FILE):  # a worker before this one has said why starting again is no use
        return
    trainer = Trainer(job)
    try:
        for row in trainer.epochs():
            train.report({**row, "step": job.name, **trainer.learner.notes()})
            if trainer.should_stop(row["epoch"]):
                break
    except Divergence as fault:
        if trainer.is_first:
            folder.write_json(FAILURE_FILE, {"kind": "divergence", "message": str(fault)})
    except TooManyWorkers as end:
        if trainer.is_first:
            folder.write_json(WORKERS_FILE, {"workers": end.enough})
    except Exception as fault:
        if is_out_of_memory(fault):
            folder.write_json(FAILURE_FILE, {"kind": "memory", "message": trainer.out_of_memory()})
        raise
    else:
        trainer.finish()


class Trainer:
    """One worker's side of a training job."""

    def __init__(self, job: TrainingJob) -> None:
        self.job = job
        context = train.get_context()
        self.rank, self.workers = context.get_world_rank(), context.get_world_size()
        self.is_first = self.rank == 0
        self.folder = RunFolder(job.run) / job.folder
        self.device = _device()
        self.space: SearchSpace = search_spaces.from_specification(job.space)
        self.images: Images = open_images(job.data)
        torch.manual_seed(job.seed)
        self.supernet: Supernet = self.space.supernet()
        if job.start:
            start, _ = RunFolder(job.run).read_tensors(job.start)
            own = self.supernet.state_dict()
            self.supernet.load_state_dict({key: start.get(key, value) for key, value in own.items()})
        self.supernet.to(self.device).to(memory_format=torch.channels_last)
        objective = Objective.restore(job.objective)
        self.costs = costs_of(self.space, job.latency)
        self.learner = objective.begin(self.space, self.costs, job.seed).to(self.device)
        weights = [*self.supernet.parameters(), *self.learner.own_weights()]
        self.optimizers = {WEIGHTS: make_optimizer(weights, job.training), **self.learner.groups()}
        self.average = None if job.training.ema is None else moving_average(self.supernet, job.training.ema)
        self.loss = nn.CrossEntropyLoss(label_smoothing=job.training.label_smoothing)
        self.watch = LossMonitor(self.space.num_classes)
        self.history: list[dict[str, Any]] = []
        self.most_probable_top1: float | None = None

    def epochs(self) -> Iterator[dict[str, Any]]:
        """Train epoch after epoch; yields each one's row of metrics once its checkpoint is safe.

        Begins with the row of the last epoch before, where it goes on from that one's end.
        """
        first_epoch, first_step, means = self._resume()
        if self.history and not first_step:
            yield self.history[-1]
        self.checkpointed = self.reported = time.monotonic()
        for epoch in range(first_epoch, self.job.training.epochs):
            networks = self.learner.networks(epoch)
            if networks is not None and networks < self.workers:
                raise TooManyWorkers(networks)
            begun = time.monotonic()
            walk = EpochSchedule(self.learner.passes(epoch), self._batches(epoch), self.job.training.steps)
            self.supernet.train()
            for step in range(first_step, walk.steps):
                self._one_step(epoch, step, walk, means)
                self._between_steps(epoch, step, walk.steps, means)
            row = {**self._epoch_row(epoch, means), "workers": self.workers, "seconds": time.monotonic() - begun}
            self.history.append(row)
            means, first_step = MetricMeans(), 0
            self._checkpoint(epoch + 1, 0, means)
            self._evaluate_most_probable(epoch)
            yield row

    def out_of_memory(self) -> str:
        """What to say when there was not enough memory for a step."""
        training = self.job.training
        images = math.ceil(training.batch_size / self.workers / training.accumulate)
        return (
            f"A training worker ran out of memory on {self.device} with {images} images at once (training.batch_size "
            f"{training.batch_size} over scale.train.workers {self.workers} and training.accumulate "
            f"{training.accumulate}): raise training.accumulate, or lower training.batch_size, in another folder "
            "(--out)."
        )

    def should_stop(self, epoch: int) -> bool:
        """Whether the training may end with this epoch, which has been reported."""
        if self.job.early_stop is None:
            return False
        enough = self.job.early_stop.should_stop(self.job.name, epoch) if self.is_first else False
        return bool(from_first_worker(int(enough)))

    def finish(self) -> None:
        """Write what was trained and the epochs' metrics: what the study reads when all workers have ended."""
        if self.is_first:
            about = {"epochs": len(self.history), "space": self.job.space}
            self.folder.write_tensors(LEARNER_FILE, self.learner.state_dict(), about)
            trained = self.supernet if self.average is None else self.average.module
            self.folder.write_tensors(WEIGHTS_FILE, trained.state_dict(), about)
            write_history(self.folder, self.history)
            if (learnt := self.learner.probabilities()) is not None:
                self.folder.write_json(PROBABILITIES_FILE, {"space": self.job.space, "options": learnt.tolist()})

    def _resume(self) -> tuple[int, int, MetricMeans]:
        """Load the newest checkpoint that the first worker can read: the epoch, step and means to go on with."""
        file, damaged = checkpoints.newest(self.folder) if self.is_first else (None, [])
        if damaged:
            self.folder.write_json(UNREADABLE_FILE, {"files": damaged, "instead": file})
        epoch, step, attempt = map(from_first_worker, checkpoints.written_at(file) if file else (0, 0, 0))
        if attempt == 0:
            return 0, 0, MetricMeans()
        file = checkpoints.name(epoch, step, attempt)
        about = checkpoints.restore(self.folder, file, self.supernet, self.optimizers, self.learner, self.average)
        self.history = about["history"]
        self.file = file
        if epoch and not step:
            self._evaluate_most_probable(epoch - 1)
        return epoch, step, MetricMeans.restore(about["means"], self.device)

    def _batches(self, epoch: int) -> dict[str, NDArray[np.int64]]:
        return {
            stream: epoch_batches(
                self.images.rows(part), self.job.training.batch_size, [self.job.seed, epoch, number, _SHUFFLE]
            )
            for number, (stream, part) in enumerate(self.job.parts.items())
        }

    def _one_step(self, epoch: int, step: int, walk: EpochSchedule, means: MetricMeans) -> None:
        training = self.job.training
        rate = learning_rate(
            training, epoch * walk.weight_steps + walk.weight_step(step), training.epochs * walk.weight_steps
        )
        generator = np.random.default_rng([self.job.seed, epoch, step])
        for update, rows, beside in walk.at(step):
            batches = list(self._micro_batches(rows, (epoch, step), update.spread))
            others = [] if beside is None else list(self._micro_batches(beside, (epoch, step), update.spread))
            given = TrainingStep(
                self.space,
                self.supernet,
                batches,
                generator,
                self.loss,
                others,
                self.optimizers[WEIGHTS],
                self.rank,
                self.workers,
                sum_over_workers,
            )
            done = apply_update(update, self.optimizers, rate * self.job.rate_factor, given, training.clip_norm)
            if self.average is not None and update.parameters == WEIGHTS:
                self.average.update_parameters(self.supernet)
            leads = update.parameters == WEIGHTS or not walk.weight_steps
            metrics = {key if leads else f"{update.parameters}_{key}": value for key, value in done.metrics.items()}
            means.add(metrics)
            self.watch.add(metrics, done.paths)

    def _micro_batches(self, row: NDArray[np.int64], at: tuple[int, int], whole: bool) -> Iterator[MicroBatch]:
        """This worker's share of a global batch, or the whole of it, in `accumulate` parts.

        They are augmented the same whoever computes them.
        """
        shares = np.linspace(0, len(row), self.workers + 1).astype(int)
        first, last = (0, len(row)) if whole else shares[self.rank :][:2]
        bounds = np.linspace(first, last, self.job.training.accumulate + 1).astype(int)
        for begin, end in pairwise(bounds):
            if begin < end:
                training = self.job.training
                images, labels = training_batch(
                    self.images,
                    row,
                    self.job.seed,
                    *at,
                    slice(begin, end),
                    self.device,
                    training.cutout,
                    training.policy,
                )
                yield MicroBatch(images, labels, (end - begin) / len(row), int(begin))

    def _between_steps(self, epoch: int, step: int, steps: int, means: MetricMeans) -> None:
        """Watch the loss; by the clock, say how far training is, and write the checkpoints asked for by the minute."""
        if (step + 1) % _WATCH_STEPS == 0:
            self.watch.look(epoch)
        now = time.monotonic()
        if self.is_first and now - self.reported > _PROGRESS_SECONDS:
            self.reported = now
            done = {"done": epoch * steps + step + 1, "total": self.job.training.epochs * steps}
            told = {"loss": means.values()["loss"], "most_probable_top1": self.most_probable_top1}
            self.folder.write_json(PROGRESS_FILE, {**done, **told})
        minutes = self.job.training.checkpoint_minutes
        if minutes and self.is_first and now - self.checkpointed > 60 * minutes and step + 1 < steps:
            self._checkpoint(epoch, step + 1, means)

    def _epoch_row(self, epoch: int, means: MetricMeans) -> dict[str, Any]:
        row = {"epoch": epoch + 1, **means.values()}
        if self.job.training.validation_paths:
            row["validation_top1"] = self._validate(epoch)
        return row

    def _validate(self, epoch: int) -> float:
        """Mean one-shot accuracy in per cent of uniformly drawn sub-networks on the validation images."""
        from raynas.evaluation.evaluator import Evaluator

        if not self.is_first:
            return math.nan
        generator = np.random.default_rng([self.job.seed, epoch, 0, _VALIDATION])
        paths = [self.space.sample(generator) for _ in range(self.job.training.validation_paths)]
        evaluator = Evaluator(self.space, self.images, self.job.evaluation, self.device)
        return float(np.mean([answer["top1"] for answer in evaluator.one_shot(self.supernet, paths)]))

    def _checkpoint(self, epoch: int, step: int, means: MetricMeans) -> None:
        self.watch.look(epoch if step else epoch - 1)
        check_weights_finite([*self.supernet.parameters(), *self.learner.parameters()], epoch if step else epoch - 1)
        self.checkpointed = time.monotonic()
        if self.is_first:
            about = {"history": self.history, "means": means.state()}
            self.file = checkpoints.name(epoch, step, self.job.attempt)
            checkpoints.save(self.folder, self.file, self.supernet, self.optimizers, self.learner, about, self.average)

    def _evaluate_most_probable(self, epoch: int) -> None:
        """Write down what the supernet actors, with the newest checkpoint's weights, say of the learner's choice."""
        most_probable = self.learner.most_probable()
        if not (self.is_first and self.job.actors and most_probable):
            return
        from raynas.evaluation.actors import EvaluatorPool

        pool = EvaluatorPool(self.job.actors, self.costs, self.job.budget)
        weights = f"{self.job.folder}/{checkpoints.path(self.file)}"
        evaluations = pool.evaluate([most_probable], weights)
        about = {**self.job.shared_columns, "weights_version": f"{self.job.name}:{epoch + 1}", "seed": self.job.seed}
        notes = self.learner.notes()
        if self.learner.networks(epoch) is not None:
            notes["workers"] = self.history[-1]["workers"]
        EvaluationTable(RunFolder(self.job.run)).write(self.job.name, 0, epoch, evaluations, {**about, **notes})
        self.most_probable_top1 = None if evaluations[0].failure else evaluations[0].top1


def moving_average(network: nn.Module, kept: float) -> AveragedModel:
    """An exponential moving average of all weights and statistics, of which each step leaves the share `kept`.

    After n steps it leaves (1 + n) / (10 + n) where that is less, or the first weights would count for too long.
    """

    def average(averaged: Tensor, current: Tensor, steps: Tensor | int) -> Tensor:
        left = min(kept, (1 + int(steps)) / (10 + int(steps)))
        return left * averaged + (1 - left) * current

    return AveragedModel(network, avg_fn=average, use_buffers=True)


def _device() -> torch.device:
    from ray.train.torch import get_device

    return get_device()
