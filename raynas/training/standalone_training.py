"""Stand-alone training of one network: the objective, with regularisation that the network does not keep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

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
    if not (settings.auxiliary_weight or settings.drop_path or settings.stochastic_depth or settings.teacher):
        return UniformPath()
    return StandaloneTraining(
        auxiliary_weight=settings.auxiliary_weight,
        drop_path=settings.drop_path,
        stochastic_depth=settings.stochastic_depth,
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
        teacher: a network whose answers are learned beside the labels.
        mean, std: of the images' channels (0..1), as the images are normalised.
        epochs: the number of epochs of the training.
    """

    auxiliary_weight: float = Field(ge=0)
    drop_path: float = Field(ge=0, lt=1)
    stochastic_depth: float = Field(ge=0, lt=1)
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


@contextmanager
def _dropping(branches: Sequence[nn.Module], drops: Sequence[DropPath]) -> Iterator[None]:
    """Drop the output of each branch for some images, while the context lasts."""
    with ExitStack() as stack:
        for branch, drop in zip(branches, drops, strict=True):
            hook = branch.register_forward_hook(lambda module, inputs, output, drop=drop: drop(output))
            stack.callback(hook.remove)
        yield
