"""An objective that needs more memory than any machine has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from raynas.interfaces.objective import Gradients, Learner, TrainingStep, UniformPath, Update

if TYPE_CHECKING:
    from search_spaces import Costs, SearchSpace


class Hungry(UniformPath):
    """Allocates 4 PiB in each training step from the second epoch on."""

    def begin(self, space: SearchSpace, costs: Costs, seed: int) -> Learner:
        return _HungryLearner(super().begin(space, costs, seed))


class _HungryLearner(Learner):
    def __init__(self, learner: Learner) -> None:
        super().__init__()
        self._learner = learner

    def passes(self, epoch: int) -> Sequence[Sequence[Update]]:
        (update,) = self._learner.passes(epoch)[0]
        return [[update if epoch == 0 else replace(update, accumulate=_allocate_too_much)]]


def _allocate_too_much(step: TrainingStep) -> Gradients:
    torch.empty(2**50)
    raise AssertionError("no machine has so much memory")
