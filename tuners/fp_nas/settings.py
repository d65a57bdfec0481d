"""The settings of FP-NAS's sampling and learning. They need no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from tuners.fp_nas.sample_size import AdaptiveSampling, SampleSize

Schedule = Literal["joint", "factorised", "mixed"]
"""The kinds of the distribution over the epochs: `mixed` begins factorised and becomes joint."""


class SamplingSettings(BaseModel):
    """The settings of FP-NAS's sampling and learning (section 3), shared by the method and its objective.

    Attributes:
        warmup_epochs: the first epochs, in which each training step moves the weights of uniformly drawn architectures,
            and the distribution stays.
        warmup_samples: K of the warm-up. The paper does not print it.
        sample_size: K, the number of architectures that a training step draws after the warm-up.
        distribution: the schedule; `mixed` is factorised before the epoch `joint_from`, and joint from there on.
        joint_from: theta of section 3.3.
        cost_weight: beta of equation 6.
        likelihood_scale: s. The likelihood of a batch is taken as exp(-s x its mean cross-entropy).
        architecture_learning_rate: Adam's learning rate for the distribution.
        return_workers: return surplus workers to the cluster once K falls below their number. Otherwise they stay, and
            share the images of the networks.
    """

    warmup_epochs: int = Field(default=45, ge=0)
    warmup_samples: int = Field(default=1, ge=1)
    sample_size: SampleSize = AdaptiveSampling(per_nat=0.25)
    distribution: Schedule = "mixed"
    joint_from: int = Field(default=80, ge=0)
    cost_weight: float = Field(default=0.3, ge=0)
    likelihood_scale: float = Field(default=1.0, gt=0)
    architecture_learning_rate: float = Field(default=0.016, gt=0)
    return_workers: bool = False
