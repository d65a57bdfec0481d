"""An objective whose losses are all numbers, and whose gradients in the second epoch are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from raynas.interfaces.objective import Gradients, Learner, TrainingStep, UniformPath, Update

if TYPE_CHECKING:
    from search_spaces import Costs, SearchSpace


class Poisoned(UniformPath):
    """One step of its second epoch leaves weights that are no numbers, which no loss of that epoch sees."""

    def begin(self, space: SearchSpace, costs: Costs, seed: int) -> Learner:
        return _Poisoned(super().begin(space, costs, seed))


class _Poisoned(Learner):
    def __init__(self, learner: Learner) -> None:
        super().__init__()
        self._learner = learner

    def passes(self, epoch: int) -> Sequence[Sequence[Update]]:
        (update,) = self._learner.passes(epoch)[0]

        def accumulate(step: TrainingStep) -> Gradients:
            done = update.accumulate(step)
            if epoch == 1:
                for parameter in step.supernet.parameters():
                    if parameter.grad is not None:
                        parameter.grad.fill_(torch.nan)
            return Gradients(done.paths, {key: torch.zeros(()) for key in done.metrics})

        return [[replace(update, accumulate=accumulate)]]
