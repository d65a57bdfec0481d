"""The learning rate and the images of each step: pure functions of the settings, the seed and the step."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from raynas.recipe.settings import TrainingSettings


def learning_rate(settings: TrainingSettings, step: int, steps: int) -> float:
    """The rate of step `step` of `steps`: a linear rise over the warm-up, then the schedule's fall."""
    warmup = round(settings.warmup_epochs * steps / settings.epochs)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    if settings.schedule == "steps":
        return settings.learning_rate * 0.1 ** sum(
            step >= round(m * steps / settings.epochs) for m in settings.milestones
        )
    if settings.rate_decay is not None:
        return settings.learning_rate * settings.rate_decay ** ((step - warmup) * settings.epochs // steps)
    progress = (step - warmup) / max(1, steps - warmup)  # none where a training moves no weights
    if settings.schedule == "cosine":
        return settings.learning_rate * (1 + math.cos(math.pi * progress)) / 2
    return settings.learning_rate * (1 - progress)


def epoch_batches(rows: NDArray[np.int64], batch_size: int, seed: Sequence[int]) -> NDArray[np.int64]:
    """An epoch's images, shuffled: shape (steps, batch_size). What does not fill a last batch is left out."""
    order = np.random.default_rng(seed).permutation(rows)
    steps = len(order) // batch_size
    return order[: steps * batch_size].reshape(steps, batch_size)
