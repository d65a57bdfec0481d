"""What supernet training optimises: a method's objective, seen by a loop that knows no method.

An `Objective` holds settings alone; `begin` gives a `Learner`, which holds what is learnt besides the supernet's
weights (architecture parameters, masks, a temperature). An epoch is a sequence of passes, a pass a sequence of steps, a
step a sequence of updates. Each update names the parameters that it moves and the stream of images that it reads, and
accumulates gradients over the micro-batches that the loop hands it. The loop alone draws batches, reduces gradients
over the workers, steps optimizers, watches for NaN and writes checkpoints.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import nn

from raynas.storage.portable import Portable

if TYPE_CHECKING:
    from torch import Tensor

    from raynas.data.images import DataPart
    from search_spaces import Architecture, Costs, SearchSpace
    from search_spaces.supernet import Supernet

WEIGHTS, ARCHITECTURE = "weights", "architecture"
"""Groups that an update moves: the supernet's own parameters, and those of the architecture."""
STREAMS: Mapping[str, DataPart] = {"train": "train", "search": "validation"}
"""Where training images move the weights and validation images the architecture."""


@dataclass(frozen=True)
class MicroBatch:
    """A part of this worker's share of a step.

    Attributes:
        images, labels: shapes (n, 3, H, W) and (n,).
        share: n over the global batch size.
        first: the place of its first image in the global batch.
    """

    images: Tensor
    labels: Tensor
    share: float
    first: int = 0


@dataclass(frozen=True)
class TrainingStep:
    """What an update may use.

    Attributes:
        generator: seeded by (seed, epoch, step), so that all workers draw the same; a step's updates share it.
        rank, workers: which of how many workers this is.
        sum_over_workers: adds up a tensor of one shape over the workers; all of them must call it.
        beside: the micro-batches of the update's second stream, where it names one.
        weights: the optimizer of the supernet's weights, at this step's learning rate.
    """

    space: SearchSpace
    supernet: Supernet
    micro_batches: Sequence[MicroBatch]
    generator: np.random.Generator
    loss: Callable[[Tensor, Tensor], Tensor]
    beside: Sequence[MicroBatch] = ()
    weights: torch.optim.Optimizer | None = None
    rank: int = 0
    workers: int = 1
    sum_over_workers: Callable[[Tensor], Tensor] = lambda tensor: tensor


@dataclass(frozen=True)
class Gradients:
    """What an update did: the paths whose parameters now have gradients, and this worker's share of its metrics.

    A metric is a sum over micro-batches of a mean times the micro-batch's share, so that adding up over workers gives
    the mean over the global batch. There are always `loss`, which the loop watches, and `top1` in per cent; an update
    that leaves out its turn has neither gradients nor metrics.
    """

    paths: Sequence[Architecture]
    metrics: dict[str, Tensor]


@dataclass(frozen=True)
class Update:
    """One move of one group of parameters (`weights`), from one stream of images (`train`, `search`).

    Attributes:
        beside: a second stream, where the move also depends on the step that the weights would take on its batch.
        spread: each worker is given all images of the batch, not its share of them, and leaves gradients of what it
            has run: workers share the work in another way.
    """

    parameters: str
    stream: str
    accumulate: Callable[[TrainingStep], Gradients]
    beside: str | None = None
    spread: bool = False


class Learner(nn.Module, ABC):
    """An objective at work. Its parameters and buffers are checkpointed with the supernet's."""

    @abstractmethod
    def passes(self, epoch: int) -> Sequence[Sequence[Update]]:
        """The passes of epoch `epoch`, counted from 0, each as the updates of one of its steps, in order.

        A pass has as many steps as a stream has batches: that of the update that moves the weights or, where none does,
        of the first. A shorter stream begins again. It is called again when an epoch goes on from a checkpoint.
        """

    def groups(self) -> dict[str, torch.optim.Optimizer]:
        """The optimizer of each group of parameters that this learner holds; `weights` are the loop's."""
        return {}

    def own_weights(self) -> Iterable[nn.Parameter]:
        """Those of this learner's parameters that move with the supernet's weights, in their group."""
        return ()

    def networks(self, epoch: int) -> int | None:
        """How many networks the workers share in the next step, one of epoch `epoch`; None where they share images.

        More workers than that are given back to the cluster.
        """
        return None

    def most_probable(self) -> Architecture | None:
        """The architecture that the learner would now choose, where it would choose one."""
        return None

    def probabilities(self) -> Tensor | None:
        """How much the learner holds of each option, shape (choices, options), where it weighs them; for reports."""
        return None

    def notes(self) -> dict[str, Any]:
        """Columns of its own that the learner adds to the evaluation table's row of `most_probable`."""
        return {}


class Objective(Portable):
    """The settings of an objective."""

    chooses: ClassVar[bool] = False
    """Whether its learners choose an architecture (`Learner.most_probable`)."""

    @abstractmethod
    def begin(self, space: SearchSpace, costs: Costs, seed: int) -> Learner:
        """A learner at its beginning; the same on every worker."""


class UniformPath(Objective):
    """Single-path training: each step moves the weights of one uniformly drawn sub-network (PAD-NAS 3.2)."""

    def begin(self, space: SearchSpace, costs: Costs, seed: int) -> Learner:
        return _UniformPath()


class _UniformPath(Learner):
    def passes(self, epoch: int) -> Sequence[Sequence[Update]]:
        return [[Update(WEIGHTS, "train", self._one_path)]]

    def _one_path(self, step: TrainingStep) -> Gradients:
        path = step.space.sample(step.generator)
        return Gradients([path], add_gradients(step, lambda images: step.supernet(images, path)))


def add_gradients(
    step: TrainingStep, logits_of: Callable[[Tensor], Tensor], batches: Sequence[MicroBatch] | None = None
) -> dict[str, Tensor]:
    """Add the gradients of the loss on the micro-batches to all leaves that have one, and none where none has.

    Args:
        logits_of: a network, images to logits.
        batches: the step's own micro-batches, where no others are given.

    Returns:
        `loss` and `top1` in per cent, as `Gradients` has them.
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
