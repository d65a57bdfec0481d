"""The settings of HourNAS's sampling and learning. They need no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

Sampling = Literal["gumbel-max", "gumbel-softmax", "softmax"]


class PathSampling(BaseModel):
    """The settings of HourNAS's sampling and learning, shared by the method and its objective.

    Attributes:
        sampling: how equation 4 samples a network A.
        temperature: the temperature of the first update.
        temperature_decay: the factor of the temperature after each update.
        slope: alpha of equation 10, the weight of the distance from the targets.
        architecture_learning_rate: Adam's learning rate for the architecture parameters.
        alternate: `epoch` moves the weights over all training images and then the architecture parameters over all
            validation images, as algorithm 1 does. `batch` moves both in each training step.
    """

    sampling: Sampling = "gumbel-max"
    temperature: float = Field(default=5.0, gt=0)
    temperature_decay: float = Field(default=0.9999, gt=0, le=1)
    slope: float = Field(default=1.0, ge=0)
    architecture_learning_rate: float = Field(default=0.01, gt=0)
    alternate: Literal["epoch", "batch"] = "epoch"
