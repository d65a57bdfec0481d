"""The settings of DMaskingNAS's sampling and learning. They need no torch."""

from __future__ import annotations

from pydantic import BaseModel, Field


class MaskingSettings(BaseModel):
    """The settings of sampling and learning, shared by the method and its objective.

    The defaults are FBNet's (Wu et al.), whose search FBNetV2 takes over.

    Attributes:
        warmup_epochs: the first epochs, in which only the weights move, and theta stays.
        temperature: tau of the first epoch.
        temperature_decay: the factor of tau after each epoch, also in the warm-up.
        cost_scale: alpha of the loss cross-entropy x alpha x log(cost)^beta.
        cost_exponent: beta of that loss; 0 ignores the cost.
        architecture_learning_rate, architecture_weight_decay: Adam's for theta.
    """

    warmup_epochs: int = Field(default=10, ge=0)
    temperature: float = Field(default=5.0, gt=0)
    temperature_decay: float = Field(default=0.956, gt=0, le=1)
    cost_scale: float = Field(default=0.2, gt=0)
    cost_exponent: float = Field(default=0.6, ge=0)
    architecture_learning_rate: float = Field(default=0.01, gt=0)
    architecture_weight_decay: float = Field(default=5e-4, ge=0)

    def temperature_at(self, epoch: int) -> float:
        """Return tau of an epoch, counted from 0."""
        temperature: float = self.temperature * self.temperature_decay**epoch
        return temperature
