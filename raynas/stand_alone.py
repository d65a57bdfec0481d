"""One network, trained alone: what it may have in training that it has not in use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import Tensor

from raynas.objective import WEIGHTS, Gradients, Learner, Objective, Step, UniformPath, Update, add_gradients
from search_spaces.auxiliary import DropPath
from search_spaces.cell import CellSpace
from search_spaces.cell_supernet import CellSupernet
from search_spaces.errors import UserError

if TYPE_CHECKING:
    from raynas.recipe import FitSettings
    from search_spaces import Architecture, Costs, SearchSpace


def stand_alone(space: SearchSpace, architecture: Architecture, settings: FitSettings) -> tuple[SearchSpace, Objective]:
    """The space of this one network, as it is trained, and how.

    Raises:
        UserError: if the settings ask for what its family of networks does not have.
    """
    alone = space.only(architecture)
    if not (settings.auxiliary_weight or settings.drop_path):
        return alone, UniformPath()
    if not isinstance(alone, CellSpace):
        raise UserError(
            f"fit.auxiliary_weight and fit.drop_path are for networks of cells, not of {space.name}: leave them out."
        )
    if settings.auxiliary_weight:
        alone = alone.with_auxiliary_head()
    return alone, EvaluationNetwork(
        auxiliary_weight=settings.auxiliary_weight, drop_path=settings.drop_path, epochs=settings.epochs
    )


class EvaluationNetwork(Objective):
    """A network of cells as DARTS trains those that it has found.

    Attributes:
        auxiliary_weight: of the loss of a classifier behind the second reduction, which the network in use has not.
        drop_path: with which probability, in the last epoch, an operation but the identity gives an image nothing; it
            rises linearly from 0.
        epochs: of the training.
    """

    auxiliary_weight: float = Field(ge=0)
    drop_path: float = Field(ge=0, lt=1)
    epochs: int

    def begin(self, space: SearchSpace, costs: Costs, seed: int) -> Learner:
        return _EvaluationLearner(self)


class _EvaluationLearner(Learner):
    def __init__(self, settings: EvaluationNetwork) -> None:
        super().__init__()
        self._settings = settings

    def passes(self, epoch: int) -> Sequence[Sequence[Update]]:
        self._drop_path = self._settings.drop_path * epoch / self._settings.epochs
        return [[Update(WEIGHTS, "train", self._one_network)]]

    def _one_network(self, step: Step) -> Gradients:
        network = step.supernet
        assert isinstance(network, CellSupernet)
        path = step.space.sample(step.generator)
        seed = int(step.generator.integers(2**63))
        metrics: dict[str, Tensor] = {}
        for batch in step.micro_batches:
            whole = round(len(batch.images) / batch.share)
            drop = DropPath(self._drop_path, seed, whole, batch.first) if self._drop_path else None
            beside: list[Tensor] = []

            def loss(logits: Tensor, labels: Tensor, beside: list[Tensor] = beside) -> Tensor:
                weighed = [self._settings.auxiliary_weight * step.loss(other, labels) for other in beside]
                return torch.stack([step.loss(logits, labels), *weighed]).sum()

            def logits_of(images: Tensor, drop: DropPath | None = drop, beside: list[Tensor] = beside) -> Tensor:
                return network.trained(images, path, drop, beside.append)

            for key, value in add_gradients(replace(step, loss=loss), logits_of, [batch]).items():
                metrics[key] = metrics.get(key, torch.zeros_like(value)) + value
        return Gradients([path], metrics)
