"""Stand-alone training of one network: the objective, with regularisation that the network does not keep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from raynas.interfaces.objective import (
    WEIGHTS,
    Gradients,
    Learner,
    MicroBatch,
    Objective,
    TrainingStep,
    UniformPath,
    Update,
    add_gradients,
)
from raynas.recipe.settings import TeacherSettings
from raynas.training.teacher import Teacher
from search_spaces.cell.auxiliary import DropPath
from search_spaces.cell.space import CellSpace
from search_spaces.cell.supernet import CellSupernet

if TYPE_CHECKING:
    from raynas.data import PreparedData
    from raynas.recipe.settings import FitSettings
    from search_spaces import Architecture, Costs, SearchSpace


def standalone_objective(settings: FitSettings, data: PreparedData) -> Objective:
    """Return the objective that trains one network by the settings of `fit`."""
    rates = settings.auxiliary_weight, settings.drop_path, settings.stochastic_depth, settings.dropout
    if not any(rates) and settings.teacher is None:
        return UniformPath()
    return StandaloneTraining(
        auxiliary_weight=settings.auxiliary_weight,
        drop_path=settings.drop_path,
        stochastic_depth=settings.stochastic_depth,
        dropout=settings.dropout,
        teacher=settings.teacher,
        mean=data.mean,
        std=data.std,
        epochs=settings.epochs,
    )


class StandaloneTraining(Objective):
    """Training of one network with regularisation. With a second classifier, the loss is that of both.

    Attributes:
        auxiliary_weight: the weight of the loss of a second classifier behind the last reduction.
        drop_path: the probability with which an operation other than the identity outputs zeros for an image, after
            the last epoch. It rises linearly from 0 in the first epoch.
        stochastic_depth: the probability with which the last residual block outputs only its input for an image. For
            block i of n it is i/n of that.
        dropout: the probability with which a feature before the classifier is zero for an image.
        teacher: a network whose answers are learned beside the labels.
        mean, std: of the images' channels (0..1), as the images are normalised.
        epochs: the number of epochs of the training.
    """

    auxiliary_weight: float = Field(ge=0)
    drop_path: float = Field(ge=0, lt=1)
    stochastic_depth: float = Field(ge=0, lt=1)
    dropout: float = Field(ge=0, lt=1)
    teacher: TeacherSettings | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    epochs: int

    def begin(self, space: SearchSpace, costs: Costs, seed: int) -> Learner:
        """Begin; the weights of the second classifier are drawn from torch's global generator, as the network's are."""
        head = None
        if self.auxiliary_weight:
            assert isinstance(space, CellSpace), "the plan refuses other spaces"
            head = space.auxiliary_head().to(memory_format=torch.channels_last)
        teacher = None
        if self.teacher is not None:
            teacher = Teacher(self.teacher, space.num_classes, self.mean, self.std)
        return _StandaloneLearner(self, head, teacher)


class _StandaloneLearner(Learner):
    def __init__(self, settings: StandaloneTraining, head: nn.Module | None, teacher: Teacher | None) -> None:
        super().__init__()
        self._settings = settings
        self._teacher = teacher
        self.head = head

    def own_weights(self) -> Iterable[nn.Parameter]:
        return self.parameters()

    def passes(self, epoch: int) -> Sequence[Sequence[Update]]:
        drop_path = self._settings.drop_path * epoch / self._settings.epochs
        return [[Update(WEIGHTS, "train", lambda step: self._train_network(step, drop_path))]]

    def _train_network(self, step: TrainingStep, drop_path: float) -> Gradients:
        path = step.space.sample(step.generator)
        seed = int(step.generator.integers(2**62))
        metrics: dict[str, Tensor] = {}
        for batch in step.micro_batches:
            batch_size = round(len(batch.images) / batch.share)

            def drop(probability: float, place: int = 0, whole: int = batch_size, first: int = batch.first) -> DropPath:
                return DropPath(probability, seed + place, whole, first)

            dropout = Dropout(self._settings.dropout, seed, batch_size, batch.first)
            with dropout.before(classifier(step.supernet)):
                if isinstance(step.supernet, CellSupernet):
                    added = self._run_cells(step, batch, path, drop(drop_path) if drop_path else None)
                else:
                    added = self._run_blocks(step, batch, path, drop)
            for key, value in added.items():
                metrics[key] = metrics[key] + value if key in metrics else value
        return Gradients([path], metrics)

    def _run_cells(
        self, step: TrainingStep, batch: MicroBatch, path: Architecture, drop: DropPath | None
    ) -> dict[str, Tensor]:
        assert isinstance(step.supernet, CellSupernet)
        logits, features = step.supernet.trained(batch.images, path, drop)
        taught = self._with_teacher(step, batch)
        if self.head is None:
            return add_gradients(taught, lambda images: logits, [batch])
        auxiliary = self._settings.auxiliary_weight * step.loss(self.head(features), batch.labels)
        both = replace(taught, loss=lambda logits, labels: taught.loss(logits, labels) + auxiliary)
        return add_gradients(both, lambda images: logits, [batch])

    def _run_blocks(
        self, step: TrainingStep, batch: MicroBatch, path: Architecture, drop: Callable[[float, int], DropPath]
    ) -> dict[str, Tensor]:
        branches = list(step.supernet.branches(path)) if self._settings.stochastic_depth else []
        rates = [self._settings.stochastic_depth * place / len(branches) for place in range(1, len(branches) + 1)]
        drops = [drop(rate, place) for place, rate in enumerate(rates)]
        with _dropping(branches, drops):
            return add_gradients(self._with_teacher(step, batch), lambda images: step.supernet(images, path), [batch])

    def _with_teacher(self, step: TrainingStep, batch: MicroBatch) -> TrainingStep:
        """Return the training step with the teacher's share in its loss on this micro-batch."""
        if self._teacher is None:
            return step
        return replace(step, loss=self._teacher.loss(batch.images, step.loss))


def classifier(network: nn.Module) -> nn.Linear:
    """Return the classifier of a network: its last linear layer."""
    return [layer for layer in network.modules() if isinstance(layer, nn.Linear)][-1]


class Dropout:
    """Sets features to 0 at random, and scales the others up (Srivastava et al., 2014).

    Like those of `DropPath`, the draws do not depend on how workers share the batch.
    """

    def __init__(self, probability: float, seed: int, batch_size: int, first: int) -> None:
        """Seed the draws; the arguments are those of `DropPath`."""
        self._probability, self._batch_size, self._first = probability, batch_size, first
        self._generator = np.random.default_rng([seed, 1])

    def __call__(self, features: Tensor) -> Tensor:
        """Return features of shape (images, features) with some of them set to 0."""
        drawn = self._generator.random((self._batch_size, features.shape[1]), dtype=np.float32)
        kept = torch.from_numpy(drawn[self._first : self._first + len(features)] >= self._probability)
        return features * kept.to(features.device, features.dtype) / (1 - self._probability)

    @contextmanager
    def before(self, classifier: nn.Module) -> Iterator[None]:
        """Apply it to the classifier's input, while the context lasts."""
        if not self._probability:
            yield
            return
        hook = classifier.register_forward_pre_hook(lambda module, inputs: self(*inputs))
        try:
            yield
        finally:
            hook.remove()


@contextmanager
def _dropping(branches: Sequence[nn.Module], drops: Sequence[DropPath]) -> Iterator[None]:
    """Drop the output of each branch for some images, while the context lasts."""
    with ExitStack() as stack:
        for branch, drop in zip(branches, drops, strict=True):
            hook = branch.register_forward_hook(lambda module, inputs, output, drop=drop: drop(output))
            stack.callback(hook.remove)
        yield
