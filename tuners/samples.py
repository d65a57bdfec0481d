"""How many architectures a step draws: a fixed number, or as many as the distribution's entropy asks for."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class FixedSamples(BaseModel):
    """The same number in every step, as PARSEC draws."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    count: int = Field(ge=1)

    def __call__(self, entropy: float) -> int:
        return self.count


class EntropySamples(BaseModel):
    """K = max(1, floor(lambda H)), H in nats (FP-NAS equation 4).

    Attributes:
        per_nat: lambda.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    per_nat: float = Field(gt=0, allow_inf_nan=False)

    def __call__(self, entropy: float) -> int:
        return max(1, int(self.per_nat * entropy))


Samples = FixedSamples | EntropySamples
