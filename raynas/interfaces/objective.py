"""An objective: what supernet training optimises. The training loop knows objectives, but no method.

An `Objective` holds settings alone. `begin` returns a `Learner`, which holds what is learned besides the supernet's
weights: architecture parameters, masks, a temperature. An epoch is a sequence of passes, a pass a sequence of training
steps, a training step a sequence of updates. Each update names the parameters that it moves and the stream of images
that it reads, and accumulates gradients over micro-batches. The loop alone draws batches, reduces gradients over the
workers, steps optimizers, watches for NaN and writes checkpoints.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import nn

from raynas.storage.portable import Portable

if TYPE_CHECKING:
    from torch import Tensor

    from search_spaces import Architecture, Costs, SearchSpace
    from search_spaces.supernet import Supernet

WEIGHTS, ARCHITECTURE = "weights", "architecture"
"""Parameter groups that an update moves: the supernet's own parameters, and those of the architecture."""


@dataclass(frozen=True)
class MicroBatch:
    """A part of a worker's share of a batch.

    Attributes:
        images, labels: shapes (n, 3, H, W) and (n,).
        share: n over the global batch size.
        first: the place of the first image in the global batch.
    """

    images: Tensor
    labels: Tensor
    share: float
    first: int = 0


@dataclass(frozen=True)
class TrainingStep:
    """What an update may use.

    Attributes:
        generator: seeded by (seed, epoch, training step), so all workers make the same draws. The updates of a training
            step share it.
        rank, workers: the number of this worker, and the number of workers.
        sum_over_workers: sums tensors of one shape over the workers. All workers must call it.
        beside: the micro-batches of the update's second stream.
        weights: the optimizer of the supernet's weights, at the learning rate of this training step.
        progress: the share of all training steps that came before this one, from 0 to less than 1.
    """

    space: SearchSpace
    supernet: Supernet
    micro_batches: Sequence[MicroBatch]
    generator: np.random.Generator
    loss: Callable[[Tensor, Tensor], Tensor]
    beside: Sequence[MicroBatch] = ()
    weights: torch.optim.Optimizer | None = None
    progress: float = 0.0
    rank: int = 0
    workers: int = 1
    sum_over_workers: Callable[[Tensor], Tensor] = lambda tensor: tensor


@dataclass(frozen=True)
class Gradients:
    """The result of an update: the paths whose parameters have gradients now, and this worker's share of the metrics.

    A metric is a sum over micro-batches of a mean times the micro-batch's share, so the sum over the workers is the
    mean over the global batch. The metrics always hold `loss`, which the loop watches, and `top1` in per cent. An
    update that skips its turn has neither gradients nor metrics.
    """

    paths: Sequence[Architecture]
    metrics: dict[str, Tensor]


@dataclass(frozen=True)
class Update:
    """One move of one group of parameters (`weights`), with images of one stream (`train`, `search`).

    Attributes:
        accumulate: computes gradients, with as many backward passes as it needs.
        beside: a second stream, if the move depends on the next step of the weights on a batch of that stream.
        spread: whether every worker gets all images of the batch, and the workers share the work in another way.
    """

    parameters: str
    stream: str
    accumulate: Callable[[TrainingStep], Gradients]
    beside: str | None = None
    spread: bool = False


class Learner(nn.Module, ABC):
    """An objective at work. Checkpoints hold its parameters and buffers beside the supernet's."""

    @abstractmethod
    def passes(self, epoch: int) -> Sequence[Sequence[Update]]:
        """Return the passes of an epoch, counted from 0; each as the updates of one of its training steps, in order.

        A pass has as many training steps as a stream has batches: the stream of the update that moves the weights, or
        of the first update if none moves the weights. A shorter stream begins again. When training goes on from a
        checkpoint inside an epoch, this is called again.
        """

    def groups(self) -> dict[str, torch.optim.Optimizer]:
        """Return the optimizer of each parameter group that this learner holds. The loop holds `weights`."""
        return {}

    def own_weights(self) -> Iterable[nn.Parameter]:
        """Return the learner's parameters that belong to the group of the supernet's weights."""
        return ()

    def networks(self, epoch: int) -> int | None:
        """Return how many workers the next training steps can use; None if they can use all.

        Surplus workers go back to the cluster.
        """
        return None

    def most_probable(self) -> Architecture | None:
        """Return the architecture that the learner would choose now; None if it chooses none."""
        return None

    def probabilities(self) -> Tensor | None:
        """Return the weight of each option, shape (choices, options), for reports; None if options have no weights."""
        return None

    def notes(self) -> dict[str, Any]:
        """Return the learner's own columns of the evaluation table, for the row of `most_probable`."""
        return {}


class Objective(Portable):
    """The settings of an objective."""

    chooses: ClassVar[bool] = False
    """Whether its learners choose an architecture (`Learner.most_probable`)."""

    @abstractmethod
    def begin(self, space: SearchSpace, costs: Costs, seed: int) -> Learner:
        """Return a new learner, equal on every worker."""


class UniformPath(Objective):
    """Single-path training: each training step moves the weights of one uniformly drawn sub-network (PAD-NAS 3.2)."""

    def begin(self, space: SearchSpace, costs: Costs, seed: int) -> Learner:
        return _UniformPathLearner()


class _UniformPathLearner(Learner):
    def passes(self, epoch: int) -> Sequence[Sequence[Update]]:
        return [[Update(WEIGHTS, "train", self._train_one_path)]]

    def _train_one_path(self, step: TrainingStep) -> Gradients:
        path = step.space.sample(step.generator)
        return Gradients([path], add_gradients(step, lambda images: step.supernet(images, path)))


def add_gradients(
    step: TrainingStep, logits_of: Callable[[Tensor], Tensor], batches: Sequence[MicroBatch] | None = None
) -> dict[str, Tensor]:
    """Add the gradients of the loss on micro-batches to all leaf tensors that require gradients.

    Args:
        logits_of: a network, images to logits.
        batches: the micro-batches; None for those of the training step.

    Returns:
        `loss` and `top1` in per cent, as in `Gradients`.
    """
    metrics: dict[str, Any] = {"loss": 0.0, "top1": 0.0}
    for batch in step.micro_batches if batches is None else batches:
        logits = logits_of(batch.images)
        loss = step.loss(logits, batch.labels)
        if loss.requires_grad:
            torch.autograd.backward(loss * batch.share)
        correct = (logits.detach().argmax(1) == batch.labels).float().mean()
        metrics["loss"] += loss.detach() * batch.share
        metrics["top1"] += 100 * correct * batch.share
    return metrics
