"""The sample size K: the number of architectures that a training step draws, fixed or adapted to the entropy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError


class FixedSampling(BaseModel):
    """One sample size for all training steps, as in PARSEC.

    Attributes:
        fixed: K.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    fixed: int = Field(ge=1)

    def __call__(self, entropy: float) -> int:
        return self.fixed


class AdaptiveSampling(BaseModel):
    """K = max(1, floor(lambda H)), with the entropy H in nats (FP-NAS equation 4).

    Attributes:
        per_nat: lambda.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    per_nat: float = Field(gt=0, allow_inf_nan=False)

    def __call__(self, entropy: float) -> int:
        return max(1, int(self.per_nat * entropy))


def _read(value: Any) -> Any:
    """Read a sample size from `{fixed: 14}` or `{per_nat: 0.25}`."""
    if isinstance(value, BaseModel):
        return value
    if not isinstance(value, Mapping) or len(value) != 1 or not set(value) <= {"fixed", "per_nat"}:
        raise ValueError("a sample size is either {fixed: K} or {per_nat: lambda}")
    try:
        return (FixedSampling if "fixed" in value else AdaptiveSampling).model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{first['loc'][0]} {first['msg'].removeprefix('Input ')}") from error


SampleSize = Annotated[FixedSampling | AdaptiveSampling, BeforeValidator(_read)]
