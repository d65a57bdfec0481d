"""Learning rates and batches, against values by hand."""

import math

import numpy as np
import pytest

from raynas.recipe.settings import TrainingSettings
from raynas.training.epoch_schedule import epoch_batches
from raynas.training.learning_rate import learning_rate


def rates(settings: TrainingSettings, steps: int) -> list[float]:
    return [learning_rate(settings, step, steps) for step in range(steps)]


def test_a_linear_schedule_falls_by_equal_parts() -> None:
    settings = TrainingSettings(epochs=2, learning_rate=0.8, schedule="linear")
    assert rates(settings, 4) == pytest.approx([0.8, 0.6, 0.4, 0.2])


def test_a_linear_schedule_falls_after_the_warm_up() -> None:
    """Of 16 training steps, the rate rises in four and falls in twelve."""
    settings = TrainingSettings(epochs=4, learning_rate=1.2, schedule="linear", warmup_epochs=1)
    assert rates(settings, 16) == pytest.approx([0.3, 0.6, 0.9, 1.2, *(1.2 - 0.1 * k for k in range(12))])


def test_a_cosine_schedule_has_half_the_rate_in_the_middle() -> None:
    settings = TrainingSettings(epochs=1, learning_rate=0.4, schedule="cosine")
    assert rates(settings, 4) == pytest.approx([0.4, 0.2 * (1 + math.sqrt(0.5)), 0.2, 0.2 * (1 - math.sqrt(0.5))])


def test_the_rate_only_rises_if_the_warm_up_is_as_long_as_the_training() -> None:
    settings = TrainingSettings(epochs=1, learning_rate=1.0, warmup_epochs=1)
    assert rates(settings, 4) == pytest.approx([0.25, 0.5, 0.75, 1.0])


def test_the_rate_falls_to_a_tenth_at_each_milestone() -> None:
    settings = TrainingSettings(epochs=4, learning_rate=1.0, schedule="steps", milestones=(1, 3), warmup_epochs=0.5)
    assert rates(settings, 8) == pytest.approx([1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01])


def test_an_epoch_takes_each_image_at_most_once_in_full_batches() -> None:
    rows = np.arange(100, 117)
    batches = epoch_batches(rows, 5, [1, 2, 0])
    assert batches.shape == (3, 5)
    assert len(set(batches.ravel().tolist())) == 15
    assert set(batches.ravel().tolist()) <= set(rows.tolist())


def test_batches_follow_from_the_seed_and_differ_between_epochs() -> None:
    rows = np.arange(40)
    assert np.array_equal(epoch_batches(rows, 8, [1, 2, 0]), epoch_batches(rows, 8, [1, 2, 0]))
    assert not np.array_equal(epoch_batches(rows, 8, [1, 2, 0]), epoch_batches(rows, 8, [1, 3, 0]))


def test_an_exponential_schedule_falls_once_an_epoch() -> None:
    settings = TrainingSettings(epochs=4, learning_rate=1.0, schedule="exponential", rate_decay=0.5, warmup_epochs=1)
    assert rates(settings, 8) == pytest.approx([0.5, 1, 1, 1, 0.5, 0.5, 0.25, 0.25])
