"""How many architectures a step draws: a fixed number, or as many as the distribution's entropy asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError


class FixedSamples(BaseModel):
    """The same number in every step, as PARSEC draws."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    count: int = Field(ge=1)

    def __call__(self, entropy: float) -> int:
        return self.count


class EntropySamples(BaseModel):
    """K = max(1, floor(lambda H)), H in nats (FP-NAS equation 4).

    Attributes:
        per_nat: lambda.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    per_nat: float = Field(gt=0, allow_inf_nan=False)

    def __call__(self, entropy: float) -> int:
        return max(1, int(self.per_nat * entropy))


def _read(value: Any) -> Any:
    """A schedule from `{count: 14}` or `{per_nat: 0.25}`."""
    if isinstance(value, BaseModel):
        return value
    if not isinstance(value, Mapping) or len(value) != 1 or not set(value) <= {"count", "per_nat"}:
        raise ValueError("samples are either {count: K} or {per_nat: lambda}")
    try:
        return (FixedSamples if "count" in value else EntropySamples).model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{first['loc'][0]} {first['msg'].removeprefix('Input ')}") from error


Samples = Annotated[FixedSamples | EntropySamples, BeforeValidator(_read)]
