"""The training loop of every Ray Train worker: batches, gradients, checkpoints. It knows objectives, but no method.

Every draw is seeded by (seed, epoch, training step) and never by worker. So workers agree on paths and batches without
messages, and a training step that is repeated after a crash is the same step.
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

import search_spaces
from raynas.data import Images, open_images, training_batch
from raynas.interfaces.costs import costs_of
from raynas.interfaces.objective import WEIGHTS, MicroBatch, Objective, TrainingStep
from raynas.results.evaluation_table import EvaluationTable
from raynas.storage.run_folder import RunFolder
from raynas.storage.step_records import write_history
from raynas.storage.weights import LEARNER_FILE, WEIGHTS_FILE
from raynas.training import checkpoints
from raynas.training.all_reduce import from_first_worker, sum_over_workers
from raynas.training.class_balance import draw_batches, label_loss
from raynas.training.divergence import LossMonitor, check_weights_finite
from raynas.training.epoch_schedule import EpochSchedule
from raynas.training.job import PROBABILITIES_FILE, PROGRESS_FILE, UNREADABLE_FILE, TrainingJob
from raynas.training.learning_rate import learning_rate
from raynas.training.loading_times import LoadingTimes
from raynas.training.metric_means import MetricMeans
from raynas.training.optimizers import make_optimizer
from raynas.training.update import apply_update
from raynas.training.weight_average import moving_average
from search_spaces import SearchSpace
from search_spaces.errors import format_count
from search_spaces.layers.initialise import set_initial_gamma
from search_spaces.supernet import Supernet

_PROGRESS_SECONDS = 1.0
_STEPS_BETWEEN_CHECKS = 50
_SHUFFLE_STREAM, _VALIDATION_STREAM = 1, 2
"""Last words of seeds: they separate these random numbers from those of (seed, epoch, training step)."""


class TooManyWorkers(Exception):
    """The next training steps keep fewer workers busy. Training goes on with them from its checkpoint."""

    def __init__(self, enough: int) -> None:
        super().__init__()
        self.enough = enough


class Trainer:
    """One worker's part of a training job."""

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
        set_initial_gamma(self.supernet, job.training.initial_gamma)
        if job.start:
            start, _ = RunFolder(job.run).read_tensors(job.start)
            own = self.supernet.state_dict()
            self.supernet.load_state_dict({key: start.get(key, value) for key, value in own.items()})
        self.supernet.to(self.device).to(memory_format=torch.channels_last)
        self.costs = costs_of(self.space, job.latency)
        self.learner = Objective.restore(job.objective).begin(self.space, self.costs, job.seed).to(self.device)
        weights = [*self.supernet.parameters(), *self.learner.own_weights()]
        self.optimizers = {
            WEIGHTS: make_optimizer(weights, job.training, [self.supernet, self.learner]),
            **self.learner.groups(),
        }
        self.average = None if job.training.ema is None else moving_average(self.supernet, job.training.ema)
        self.loss = label_loss(job.training, self.images, set(job.parts.values()), self.device)
        self.losses = LossMonitor(self.space.num_classes)
        self.history: list[dict[str, Any]] = []
        self.most_probable_top1: float | None = None

    def epochs(self) -> Iterator[dict[str, Any]]:
        """Train epoch after epoch. Yields each epoch's row of metrics once its checkpoint is written.

        If training goes on from the end of an epoch, the row of that epoch comes first.
        """
        first_epoch, first_step, means = self._resume()
        if self.history and not first_step:
            yield self.history[-1]
        self.checkpointed = self.reported = time.monotonic()
        for epoch in range(first_epoch, self.job.training.epochs):
            networks = self.learner.networks(epoch)
            if networks is not None and networks < self.workers:
                raise TooManyWorkers(networks)
            begun, self.loading = time.monotonic(), LoadingTimes()
            schedule = EpochSchedule(self.learner.passes(epoch), self._batches(epoch), self.job.training.steps)
            self.supernet.train()
            for step in range(first_step, schedule.steps):
                self._train_step(epoch, step, schedule, means)
                self._between_steps(epoch, step, schedule.steps, means)
            times = {"seconds": time.monotonic() - begun, **self.loading.figures(self.workers)}
            row = {**self._epoch_row(epoch, means), "workers": self.workers, **times}
            self.history.append(row)
            means, first_step = MetricMeans(), 0
            self._checkpoint(epoch + 1, 0, means)
            self._evaluate_most_probable(epoch)
            yield row

    def out_of_memory_message(self) -> str:
        training = self.job.training
        images = math.ceil(training.batch_size / self.workers / training.accumulate)
        return (
            f"A training worker ran out of memory on {self.device} with {format_count(images, 'image')} at once "
            f"(training.batch_size {training.batch_size} over scale.train.workers {self.workers} and "
            f"training.accumulate {training.accumulate}): raise training.accumulate, or lower training.batch_size, in "
            "another folder (--out)."
        )

    def should_stop(self, epoch: int) -> bool:
        """Return whether training may stop early after an epoch that was reported."""
        if self.job.early_stop is None:
            return False
        stop = self.job.early_stop.should_stop(self.job.name, epoch) if self.is_first else False
        return bool(from_first_worker(int(stop)))

    def write_results(self) -> None:
        """Write the weights, the learner's state and the history of a finished training."""
        if not self.is_first:
            return
        header = {"epochs": len(self.history), "space": self.job.space}
        self.folder.write_tensors(LEARNER_FILE, self.learner.state_dict(), header)
        trained = self.supernet if self.average is None else self.average.module
        self.folder.write_tensors(WEIGHTS_FILE, trained.state_dict(), header)
        write_history(self.folder, self.history)
        if (probabilities := self.learner.probabilities()) is not None:
            self.folder.write_json(PROBABILITIES_FILE, {"space": self.job.space, "options": probabilities.tolist()})

    def _resume(self) -> tuple[int, int, MetricMeans]:
        """Load the newest checkpoint that the first worker can read. Returns its epoch, training step and means."""
        file, unreadable = checkpoints.newest(self.folder) if self.is_first else (None, [])
        if unreadable:
            self.folder.write_json(UNREADABLE_FILE, {"files": unreadable, "instead": file})
        epoch, step, attempt = map(from_first_worker, checkpoints.written_at(file) if file else (0, 0, 0))
        if attempt == 0:
            return 0, 0, MetricMeans()
        file = checkpoints.name(epoch, step, attempt)
        state = checkpoints.restore(self.folder, file, self.supernet, self.optimizers, self.learner, self.average)
        self.history = state["history"]
        self.file = file
        if epoch and not step:
            self._evaluate_most_probable(epoch - 1)
        return epoch, step, MetricMeans.restore(state["means"], self.device)

    def _batches(self, epoch: int) -> dict[str, NDArray[np.int64]]:
        return {
            stream: draw_batches(self.job.training, self.images, part, [self.job.seed, epoch, number, _SHUFFLE_STREAM])
            for number, (stream, part) in enumerate(self.job.parts.items())
        }

    def _train_step(self, epoch: int, step: int, schedule: EpochSchedule, means: MetricMeans) -> None:
        training = self.job.training
        weight_steps = schedule.weight_steps
        rate = learning_rate(
            training, epoch * weight_steps + schedule.weight_step(step), training.epochs * weight_steps
        )
        generator = np.random.default_rng([self.job.seed, epoch, step])
        for update, rows, beside in schedule.at(step):
            training_step = TrainingStep(
                space=self.space,
                supernet=self.supernet,
                micro_batches=list(self._micro_batches(rows, (epoch, step), update.spread)),
                generator=generator,
                loss=self.loss,
                beside=[] if beside is None else list(self._micro_batches(beside, (epoch, step), update.spread)),
                weights=self.optimizers[WEIGHTS],
                progress=(epoch * schedule.steps + step) / (training.epochs * schedule.steps),
                rank=self.rank,
                workers=self.workers,
                sum_over_workers=sum_over_workers,
            )
            gradients = apply_update(
                update, self.optimizers, rate * self.job.rate_factor, training_step, training.clip_norm
            )
            if self.average is not None and update.parameters == WEIGHTS:
                self.average.update_parameters(self.supernet)
            is_main = update.parameters == WEIGHTS or not weight_steps
            metrics = {
                key if is_main else f"{update.parameters}_{key}": value for key, value in gradients.metrics.items()
            }
            means.add(metrics)
            self.losses.add(metrics, gradients.paths)

    def _micro_batches(self, rows: NDArray[np.int64], at: tuple[int, int], whole: bool) -> Iterator[MicroBatch]:
        """Yield this worker's share of a global batch, or the whole batch, in `accumulate` parts.

        The augmentation of an image does not depend on the worker that computes it.
        """
        shares = np.linspace(0, len(rows), self.workers + 1).astype(int)
        first, last = (0, len(rows)) if whole else shares[self.rank :][:2]
        training = self.job.training
        bounds = np.linspace(first, last, training.accumulate + 1).astype(int)
        for begin, end in pairwise(bounds):
            if begin < end:
                with self.loading.loading(int(end - begin)):
                    images, labels = training_batch(
                        self.images,
                        rows,
                        self.job.seed,
                        *at,
                        slice(begin, end),
                        self.device,
                        training.cutout,
                        training.policy,
                        training.color_jitter,
                    )
                yield MicroBatch(images, labels, (end - begin) / len(rows), int(begin))

    def _between_steps(self, epoch: int, step: int, steps: int, means: MetricMeans) -> None:
        """Check the losses now and then. By the clock, write the progress and checkpoints."""
        if (step + 1) % _STEPS_BETWEEN_CHECKS == 0:
            self.losses.check(epoch)
        now = time.monotonic()
        if self.is_first and now - self.reported > _PROGRESS_SECONDS:
            self.reported = now
            progress = {"done": epoch * steps + step + 1, "total": self.job.training.epochs * steps}
            figures = {"loss": means.values()["loss"], "most_probable_top1": self.most_probable_top1}
            self.folder.write_json(PROGRESS_FILE, {**progress, **figures, **self.loading.figures(self.workers)})
        minutes = self.job.training.checkpoint_minutes
        if minutes and self.is_first and now - self.checkpointed > 60 * minutes and step + 1 < steps:
            self._checkpoint(epoch, step + 1, means)

    def _epoch_row(self, epoch: int, means: MetricMeans) -> dict[str, Any]:
        row = {"epoch": epoch + 1, **means.values()}
        if self.job.training.validation_paths:
            row["validation_top1"] = self._validate(epoch)
        return row

    def _validate(self, epoch: int) -> float:
        """Return the mean one-shot accuracy in per cent of uniformly drawn sub-networks on the validation images."""
        from raynas.evaluation.evaluator import Evaluator

        if not self.is_first:
            return math.nan
        generator = np.random.default_rng([self.job.seed, epoch, 0, _VALIDATION_STREAM])
        paths = [self.space.sample(generator) for _ in range(self.job.training.validation_paths)]
        evaluator = Evaluator(self.space, self.images, self.job.evaluation, self.device)
        return float(np.mean([figures["top1"] for figures in evaluator.one_shot(self.supernet, paths)]))

    def _checkpoint(self, epoch: int, step: int, means: MetricMeans) -> None:
        trained_epoch = epoch if step else epoch - 1
        self.losses.check(trained_epoch)
        check_weights_finite([*self.supernet.parameters(), *self.learner.parameters()], trained_epoch)
        self.checkpointed = time.monotonic()
        if self.is_first:
            state = {"history": self.history, "means": means.state()}
            self.file = checkpoints.name(epoch, step, self.job.attempt)
            checkpoints.save(self.folder, self.file, self.supernet, self.optimizers, self.learner, state, self.average)

    def _evaluate_most_probable(self, epoch: int) -> None:
        """Let the evaluators measure the most probable architecture, with the weights of the newest checkpoint."""
        most_probable = self.learner.most_probable()
        if not (self.is_first and self.job.evaluators and most_probable):
            return
        from raynas.evaluation.actors import EvaluatorPool

        pool = EvaluatorPool(self.job.evaluators, self.costs, self.job.budget)
        weights = f"{self.job.folder}/{checkpoints.path(self.file)}"
        evaluations = pool.evaluate([most_probable], weights)
        version = {"weights_version": f"{self.job.name}:{epoch + 1}", "seed": self.job.seed}
        notes = self.learner.notes()
        if self.learner.networks(epoch) is not None:
            notes["workers"] = self.history[-1]["workers"]
        shared = {**self.job.shared_columns, **version, **notes}
        EvaluationTable(RunFolder(self.job.run)).write(self.job.name, 0, epoch, evaluations, shared)
        self.most_probable_top1 = None if evaluations[0].failure else evaluations[0].top1


def _device() -> torch.device:
    from ray.train.torch import get_device

    return get_device()
