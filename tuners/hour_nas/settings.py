"""The settings of HourNAS's sampling, learning and fitting of proposals. They need no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Sampling = Literal["gumbel-max", "gumbel-softmax", "softmax"]


class Temperature(BaseModel):
    """The temperature tau of a search. It has either `decay`, as in the paper, or `end`.

    Attributes:
        start: the temperature of the first update.
        decay: the factor of the temperature after each update. So the last temperature depends on the batch size.
        end: the temperature that the search ends at, whatever the batch size: it falls with the share of the epochs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: float = Field(default=5.0, gt=0)
    decay: float | None = Field(default=None, gt=0, le=1)
    end: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _one_form(self) -> Temperature:
        if (self.decay is None) == (self.end is None):
            raise ValueError("give either decay or end, e.g. start 5.0 and decay 0.9999, or start 5.0 and end 0.1")
        return self

    def at(self, updates: int, progress: float) -> float:
        """Return the temperature after a number of updates, and after a share `progress` of the training steps."""
        if self.decay is not None:
            return self.start * self.decay**updates
        assert self.end is not None
        temperature: float = self.start * (self.end / self.start) ** progress
        return temperature


class ProposalFit(BaseModel):
    """How proposals are fitted to the targets (equation 7). The paper prints none of these numbers.

    Attributes:
        iterations: I_sp of algorithm 1. With the default, eight proposals take 2 to 3 s on one thread.
        learning_rate: Adam's. The default lets theta move by up to 25, far beyond its initial values.
        first_temperature, last_temperature: of fitting; the defaults are the range of figure 3.
        cooling_share: the share of the iterations over which the temperature falls; the others have the last one.
        initial_deviation: the standard deviation of theta at the start. The default lets random starts differ, but
            favours no option strongly.
        candidates: fitted candidates for each proposal that is kept, because some starts end far from the targets.
        min_entropy_nats: the entropy that a proposal keeps at the last temperature. The default is that of 1,300
            equally likely architectures.
        min_entropy_share: the share of its greatest entropy that a proposal keeps, if that is less: in small spaces.
        entropy_weight: the weight of the missing entropy, in nats, beside the distance from the targets.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    iterations: int = Field(default=500, ge=1)
    learning_rate: float = Field(default=0.05, gt=0)
    first_temperature: float = Field(default=5.0, gt=0)
    last_temperature: float = Field(default=0.1, gt=0)
    cooling_share: float = Field(default=0.6, gt=0, le=1)
    initial_deviation: float = Field(default=0.5, gt=0)
    candidates: int = Field(default=2, ge=1)
    min_entropy_nats: float = Field(default=7.2, ge=0)
    min_entropy_share: float = Field(default=0.3, ge=0, le=1)
    entropy_weight: float = Field(default=0.02, ge=0)

    def temperature(self, iteration: int) -> float:
        """Return the temperature of an iteration: it falls exponentially, and then stays at the last value."""
        share = min(1.0, iteration / (self.iterations * self.cooling_share))
        temperature: float = self.first_temperature * (self.last_temperature / self.first_temperature) ** share
        return temperature


class PathSampling(BaseModel):
    """The settings of HourNAS's sampling and learning, shared by the method and its objective.

    Attributes:
        sampling: how equation 4 samples a network A.
        temperature: tau of equation 4, and how it falls.
        slope: alpha of equation 10, the weight of the distance from the targets.
        architecture_learning_rate: Adam's learning rate for the architecture parameters.
        alternate: `epoch` moves the weights over all training images and then the architecture parameters over all
            validation images, as algorithm 1 does. `batch` moves both in each training step.
        proposal_fit: how the proposals are fitted.
    """

    sampling: Sampling = "gumbel-max"
    temperature: Temperature = Temperature(decay=0.9999)
    slope: float = Field(default=1.0, ge=0)
    architecture_learning_rate: float = Field(default=0.01, gt=0)
    alternate: Literal["epoch", "batch"] = "epoch"
    proposal_fit: ProposalFit = ProposalFit()
