"""One network, trained alone: what it may have in training that it has not in use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import Tensor, nn

from raynas.objective import (
    WEIGHTS,
    Gradients,
    Learner,
    MicroBatch,
    Objective,
    Step,
    UniformPath,
    Update,
    add_gradients,
)
from search_spaces.auxiliary import DropPath
from search_spaces.cell import CellSpace
from search_spaces.cell_supernet import CellSupernet
from search_spaces.errors import UserError

if TYPE_CHECKING:
    from raynas.recipe import FitSettings
    from search_spaces import Architecture, Costs, SearchSpace


def stand_alone(settings: FitSettings) -> Objective:
    """How one network is trained alone."""
    if not (settings.auxiliary_weight or settings.drop_path):
        return UniformPath()
    return EvaluationNetwork(
        auxiliary_weight=settings.auxiliary_weight, drop_path=settings.drop_path, epochs=settings.epochs
    )


def refuse_without_cells(space: SearchSpace, settings: FitSettings) -> None:
    """Raises UserError if a network of this space cannot be trained as the settings ask."""
    if (settings.auxiliary_weight or settings.drop_path) and not isinstance(space, CellSpace):
        raise UserError(
            f"fit.auxiliary_weight and fit.drop_path are for networks of cells, not of {space.name}: leave them out."
        )


class EvaluationNetwork(Objective):
    """A network of cells as DARTS trains those that it has found. The loss is that of both classifiers.

    Attributes:
        auxiliary_weight: of the loss of a classifier behind the last reduction, which the network in use has not.
        drop_path: with which probability, after the last epoch, an operation but the identity would give an image
            nothing; it rises linearly from 0 in the first.
        epochs: of the training.
    """

    auxiliary_weight: float = Field(ge=0)
    drop_path: float = Field(ge=0, lt=1)
    epochs: int

    def begin(self, space: SearchSpace, costs: Costs, seed: int) -> Learner:
        """Weights of the auxiliary head are drawn from torch's global generator, as the network's are."""
        assert isinstance(space, CellSpace), "the plan has refused others"
        head = space.auxiliary_head().to(memory_format=torch.channels_last) if self.auxiliary_weight else None
        return _EvaluationLearner(self, head)


class _EvaluationLearner(Learner):
    def __init__(self, settings: EvaluationNetwork, head: nn.Module | None) -> None:
        super().__init__()
        self._settings = settings
        self.head = head

    def own_weights(self) -> Iterable[nn.Parameter]:
        return self.parameters()

    def passes(self, epoch: int) -> Sequence[Sequence[Update]]:
        drop_path = self._settings.drop_path * epoch / self._settings.epochs
        return [[Update(WEIGHTS, "train", lambda step: self._one_network(step, drop_path))]]

    def _one_network(self, step: Step, drop_path: float) -> Gradients:
        path = step.space.sample(step.generator)
        seed = int(step.generator.integers(2**63))
        metrics: dict[str, Tensor] = {}
        for batch in step.micro_batches:
            drop = DropPath(drop_path, seed, round(len(batch.images) / batch.share), batch.first) if drop_path else None
            for key, value in self._run(step, batch, path, drop).items():
                metrics[key] = metrics[key] + value if key in metrics else value
        return Gradients([path], metrics)

    def _run(self, step: Step, batch: MicroBatch, path: Architecture, drop: DropPath | None) -> dict[str, Tensor]:
        assert isinstance(step.supernet, CellSupernet)
        logits, features = step.supernet.trained(batch.images, path, drop)
        if self.head is None:
            return add_gradients(step, lambda images: logits, [batch])
        auxiliary = self._settings.auxiliary_weight * step.loss(self.head(features), batch.labels)
        both = replace(step, loss=lambda logits, labels: step.loss(logits, labels) + auxiliary)
        return add_gradients(both, lambda images: logits, [batch])
