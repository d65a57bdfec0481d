"""The learning rate of each training step: a pure function of the settings and the step."""

from __future__ import annotations

import math

from raynas.recipe.settings import TrainingSettings


def learning_rate(settings: TrainingSettings, step: int, steps: int) -> float:
    """Return the rate of training step `step` of `steps`: a linear rise in the warm-up, then the schedule's fall."""
    warmup = round(settings.warmup_epochs * steps / settings.epochs)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    if settings.schedule == "steps":
        return settings.learning_rate * 0.1 ** sum(
            step >= round(m * steps / settings.epochs) for m in settings.milestones
        )
    if settings.rate_decay is not None:
        return settings.learning_rate * settings.rate_decay ** ((step - warmup) * settings.epochs // steps)
    progress = (step - warmup) / max(1, steps - warmup)  # 0 if a training moves no weights
    if settings.schedule == "cosine":
        return settings.learning_rate * (1 + math.cos(math.pi * progress)) / 2
    return settings.learning_rate * (1 - progress)
