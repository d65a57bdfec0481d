"""An objective with finite losses whose gradients in the second epoch are not finite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from raynas.interfaces.objective import Gradients, Learner, TrainingStep, UniformPath, Update

if TYPE_CHECKING:
    from search_spaces import Costs, SearchSpace


class Poisoned(UniformPath):
    """Makes weights NaN in the second epoch. No loss of that epoch shows the fault."""

    def begin(self, space: SearchSpace, costs: Costs, seed: int) -> Learner:
        return _PoisonedLearner(super().begin(space, costs, seed))


class _PoisonedLearner(Learner):
    def __init__(self, learner: Learner) -> None:
        super().__init__()
        self._learner = learner

    def passes(self, epoch: int) -> Sequence[Sequence[Update]]:
        (update,) = self._learner.passes(epoch)[0]

        def accumulate(step: TrainingStep) -> Gradients:
            gradients = update.accumulate(step)
            if epoch == 1:
                for parameter in step.supernet.parameters():
                    if parameter.grad is not None:
                        parameter.grad.fill_(torch.nan)
            return Gradients(gradients.paths, {key: torch.zeros(()) for key in gradients.metrics})

        return [[replace(update, accumulate=accumulate)]]
