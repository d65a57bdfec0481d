"""The training steps of HM-NAS's masks: how far a learning rate moves a mask. It needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from search_spaces.errors import UserError, format_count

if TYPE_CHECKING:
    from raynas.data import PreparedData
    from raynas.recipe.settings import TrainingSettings


@dataclass(frozen=True)
class MaskSchedule:
    """Adam moves a mask by about its learning rate in each training step.

    Attributes:
        epochs: the epochs of the masks; in the second half the learning rates are a tenth (section 4.2).
        steps: the training steps of an epoch.
    """

    epochs: int
    steps: int

    @classmethod
    def of(cls, data: PreparedData, training: TrainingSettings, epochs: int) -> MaskSchedule:
        """Return the schedule on all training images, in batches of the supernet's training."""
        batches = data.count("all-training") // training.batch_size
        return cls(epochs, min(batches, training.steps or batches))

    @property
    def decay_epoch(self) -> int:
        """The epoch, counted from 0, from which on the learning rates are a tenth."""
        return (self.epochs + 1) // 2

    @property
    def full_rate_steps(self) -> float:
        """The number of training steps, where a step at a tenth of the learning rate counts a tenth."""
        return self.steps * (self.decay_epoch + 0.1 * (self.epochs - self.decay_epoch))

    def check_reaches(self, distance: float, rates: dict[str, float]) -> None:
        """Check that masks can cross the threshold.

        Args:
            distance: from the first value of a mask to the threshold.
            rates: learning rates, by the names of their settings.

        Raises:
            UserError: if a learning rate cannot move a mask so far.
        """
        for name, rate in rates.items():
            change = rate * self.full_rate_steps
            if change < distance:
                raise UserError(
                    f"method.{name}={rate:g} moves a mask by at most {change:.2g} in "
                    f"{format_count(self.epochs, 'epoch')} of {format_count(self.steps, 'training step')}; the "
                    f"threshold is {distance:.2g} away, so that no mask could remove anything. Raise it, or set "
                    f"method.max_{name.removesuffix('_rate')}_change to several times the distance in its place."
                )
