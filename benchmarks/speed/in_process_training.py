"""A training in one process, for `benchmarks.speed.in_process`: the updates of raynas's training workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from raynas.data import Images, open_images, training_batch
from raynas.evaluation.evaluator import Evaluator
from raynas.interfaces.objective import WEIGHTS, Learner, MicroBatch, TrainingStep
from raynas.training.class_balance import draw_batches, label_loss
from raynas.training.epoch_schedule import EpochSchedule
from raynas.training.learning_rate import learning_rate
from raynas.training.metric_means import MetricMeans
from raynas.training.optimizers import make_optimizer
from raynas.training.update import apply_update
from raynas.training.weight_average import moving_average
from search_spaces.layers.initialise import set_initial_gamma
from search_spaces.supernet import Supernet

if TYPE_CHECKING:
    from torch import Tensor

    from raynas.data.images import DataPart
    from raynas.interfaces.objective import Objective
    from raynas.recipe.settings import FitSettings
    from raynas.study.study import Study
    from search_spaces import Architecture, SearchSpace

_SHUFFLE = 1
WriteMostProbable = Callable[["Architecture", Sequence[Mapping[str, Any]], int, Mapping[str, Any]], None]
"""Writes an architecture, its figures, the epoch, and the columns of the objective."""


class TrainingLoop:
    """A training in this process: one worker, all images of a batch."""

    def __init__(
        self,
        study: Study,
        name: str,
        space: SearchSpace,
        objective: Objective,
        settings: FitSettings,
        streams: Mapping[str, DataPart],
        initial: Mapping[str, Tensor] | None,
        write: WriteMostProbable,
    ) -> None:
        """Build the network, its optimizers and what its objective learns.

        Args:
            write: writes the figures of the most probable architecture after an epoch.
        """
        self._space, self._write = space, write
        self._settings, self._streams = settings, streams
        self._seed = study.seed_of(name)
        self._images: Images = open_images(study.data)
        torch.manual_seed(self._seed)
        self._supernet: Supernet = space.supernet()
        set_initial_gamma(self._supernet, settings.initial_gamma)
        if initial is not None:
            own = self._supernet.state_dict()
            self._supernet.load_state_dict({key: initial.get(key, value) for key, value in own.items()})
        self._supernet.to(memory_format=torch.channels_last)
        self.learner: Learner = objective.begin(space, study.costs_within(space), self._seed)
        weights = [*self._supernet.parameters(), *self.learner.own_weights()]
        self._optimizers = {
            WEIGHTS: make_optimizer(weights, settings, [self._supernet, self.learner]),
            **self.learner.groups(),
        }
        self._average = None if settings.ema is None else moving_average(self._supernet, settings.ema)
        self._loss = label_loss(settings, self._images, set(streams.values()), torch.device("cpu"))
        evaluation = study.recipe.evaluation
        chooses = objective.chooses
        self._evaluator = Evaluator(space, self._images, evaluation, torch.device("cpu")) if chooses else None

    def trained(self) -> nn.Module:
        """Return the network whose weights count."""
        return self._supernet if self._average is None else self._average.module

    def train_epoch(self, epoch: int) -> dict[str, Any]:
        """Train for an epoch, then measure the most probable architecture if there is one. Returns the metrics."""
        batches = {
            stream: draw_batches(self._settings, self._images, part, [self._seed, epoch, number, _SHUFFLE])
            for number, (stream, part) in enumerate(self._streams.items())
        }
        schedule = EpochSchedule(self.learner.passes(epoch), batches, self._settings.steps)
        means = MetricMeans()
        begun = time.monotonic()
        self._supernet.train()
        for step in range(schedule.steps):
            self._train_step(epoch, step, schedule, means)
        seconds = time.monotonic() - begun
        most_probable = self.learner.most_probable()
        if self._evaluator is not None and most_probable is not None:
            figures = self._evaluator.one_shot(self._supernet, [most_probable])
            self._write(most_probable, figures, epoch, self.learner.notes())
        return {"epoch": epoch + 1, **means.values(), "workers": 1, "seconds": seconds}

    def _train_step(self, epoch: int, step: int, schedule: EpochSchedule, means: MetricMeans) -> None:
        settings, weight_steps = self._settings, schedule.weight_steps
        done = epoch * weight_steps + schedule.weight_step(step)
        rate = learning_rate(settings, done, settings.epochs * weight_steps)
        generator = np.random.default_rng([self._seed, epoch, step])
        for update, rows, beside in schedule.at(step):

            def read(rows: NDArray[np.int64]) -> list[MicroBatch]:
                at = (self._seed, epoch, step)
                images, labels = training_batch(
                    self._images,
                    rows,
                    *at,
                    cutout=settings.cutout,
                    policy=settings.policy,
                    color_jitter=settings.color_jitter,
                )
                return [MicroBatch(images, labels, 1.0)]

            training_step = TrainingStep(
                self._space, self._supernet, read(rows), generator, self._loss, weights=self._optimizers[WEIGHTS]
            )
            if beside is not None:
                training_step = replace(training_step, beside=read(beside))
            gradients = apply_update(update, self._optimizers, rate, training_step, settings.clip_norm)
            if self._average is not None and update.parameters == WEIGHTS:
                self._average.update_parameters(self._supernet)
            is_main = update.parameters == WEIGHTS or not weight_steps
            means.add(
                {key if is_main else f"{update.parameters}_{key}": value for key, value in gradients.metrics.items()}
            )
