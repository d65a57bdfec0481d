"""The steps of one-shot NAS in plain PyTorch loops: training, one-shot accuracy, stand-alone training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler

import search_spaces
from benchmarks.common.plain_training import measure_test_top1, top1
from benchmarks.speed.plain_recalibration import recalibrate
from raynas.data import Images, batch, open_images, prepare, training_batch
from raynas.recipe.recipe import Recipe
from raynas.recipe.settings import TrainingSettings
from raynas.training.epoch_schedule import epoch_batches
from search_spaces import Architecture, SearchSpace
from search_spaces.supernet import Supernet

Logits = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Task:
    """A recipe's settings, its space and its images.

    Attributes:
        layout: the memory layout of networks and images.
    """

    recipe: Recipe
    space: SearchSpace
    images: Images
    layout: torch.memory_format

    @classmethod
    def of(cls, recipe: Recipe, layout: torch.memory_format) -> Task:
        """Load the space and the images of a recipe."""
        settings = {key: value for key, value in recipe.space.items() if key != "name"}
        name = recipe.space["name"]
        data = prepare(recipe.data, search_spaces.load(name, **settings).resolution, recipe.seed)
        space = search_spaces.load(name, **settings, num_classes=len(data.classes))
        return cls(recipe, space, open_images(data), layout)

    def read(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Return images without augmentation, and their labels."""
        inputs, labels = batch(self.images, rows)
        return inputs.contiguous(memory_format=self.layout), labels

    def read_augmented(self, rows: NDArray[np.int64], epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """Return images with augmentation, and their labels."""
        inputs, labels = training_batch(self.images, rows, self.recipe.seed, epoch, step)
        return inputs.contiguous(memory_format=self.layout), labels


def train(
    task: Task,
    network: nn.Module,
    logits_of: Logits,
    rows: NDArray[np.int64],
    settings: TrainingSettings,
    before_step: Callable[[int, int], None] = lambda epoch, step: None,
) -> None:
    """Train a network by SGD.

    Args:
        logits_of: the forward pass of a training step; a supernet draws a path here.
        before_step: called with epoch and step before each training step.
    """
    network.to(memory_format=task.layout).train()
    rate, momentum, decay = settings.learning_rate, settings.momentum, settings.weight_decay
    sgd = torch.optim.SGD(network.parameters(), rate, momentum, weight_decay=decay)
    steps = len(epoch_batches(rows, settings.batch_size, [0])[: settings.steps])
    schedule = rate_schedule(sgd, settings, steps * settings.epochs)
    for epoch in range(settings.epochs):
        batches = epoch_batches(rows, settings.batch_size, [task.recipe.seed, epoch])
        for step in range(steps):
            before_step(epoch, step)
            inputs, labels = task.read_augmented(batches[step], epoch, step)
            sgd.zero_grad()
            torch.autograd.backward(functional.cross_entropy(logits_of(inputs), labels))
            sgd.step()
            schedule.step()


def rate_schedule(sgd: torch.optim.Optimizer, settings: TrainingSettings, steps: int) -> LRScheduler:
    """Return the schedule of a recipe: cosine or linear, to zero."""
    if settings.schedule == "cosine":
        return CosineAnnealingLR(sgd, steps)
    return LinearLR(sgd, start_factor=1.0, end_factor=0.0, total_iters=steps)


class OneShotAccuracy:
    """One-shot accuracy of sub-networks, one after the other, each with its own batch-norm statistics."""

    def __init__(self, task: Task, supernet: Supernet) -> None:
        evaluation = task.recipe.evaluation
        self._supernet = supernet.eval()
        images, labels = task.read(task.images.rows("validation"))
        self._labels, self._batches = labels, torch.split(images, evaluation.batch_size)
        images, _ = task.read(task.images.recalibration_rows(evaluation.recalibration_images))
        self._recalibration = torch.split(images, evaluation.recalibration_batch_size)

    @torch.no_grad()
    def __call__(self, architecture: Architecture) -> float:
        """Return the accuracy on the validation images in per cent."""

        def logits_of(images: Tensor) -> Tensor:
            logits: Tensor = self._supernet(images, architecture)
            return logits

        parts = self._supernet.path_modules(architecture)
        recalibrate(logits_of, [module for part in parts for module in part.modules()], self._recalibration)
        return top1(torch.cat([logits_of(images) for images in self._batches]), self._labels)


def train_stand_alone(task: Task, architecture: Architecture) -> float:
    """Train a network from scratch by the recipe's `fit`, and return its test accuracy in per cent."""
    torch.manual_seed(task.recipe.seed)
    network = task.space.network(architecture)
    train(task, network, network, task.images.rows("all-training"), task.recipe.fit)
    return measure_test_top1(network, task.images)


class MacsWindow:
    """The multiply-adds of architectures, and the window that the recipe allows."""

    def __init__(self, task: Task) -> None:
        self._costs = task.space.costs()
        self.least, self.most = task.recipe.budget.root["macs"].interval()

    def macs(self, architectures: Sequence[Architecture]) -> NDArray[np.float64]:
        """Return the multiply-adds of architectures, shape (architectures,)."""
        return np.asarray(self._costs.cost(architectures)["macs"], dtype=float)

    def excess(self, macs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how many multiply-adds lie outside the window, shape (architectures,); at most 0 within it."""
        return np.maximum(macs - self.most, self.least - macs)

    def is_met(self, architecture: Architecture) -> bool:
        """Return whether an architecture is within the window."""
        return bool(self.excess(self.macs([architecture]))[0] <= 0)
