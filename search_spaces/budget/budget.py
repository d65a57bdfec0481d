"""What architectures may cost, and whether any does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    NonNegativeFloat,
    RootModel,
    StringConstraints,
    model_validator,
)
from torch import Tensor

from search_spaces.architecture import Architecture
from search_spaces.budget.feasibility import feasibility_of, window_text
from search_spaces.budget.integer_program import Window
from search_spaces.costs import Costs
from search_spaces.errors import UserError, nearest
from search_spaces.space import SearchSpace

_SUFFIXES = {"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9}


def _spelt_out(value: Any) -> Any:
    """`50M` as a number; anything else is left to the validator."""
    if isinstance(value, str) and value.strip()[-1:] in _SUFFIXES:
        text = value.strip()
        try:
            return float(text[:-1]) * _SUFFIXES[text[-1]]
        except ValueError:
            return value
    return value


_Written = NonNegativeFloat | Annotated[str, StringConstraints(pattern=r"^\s*[0-9.]+(e[+-]?[0-9]+)?\s*[kKMGB]?\s*$")]
Amount = Annotated[NonNegativeFloat, BeforeValidator(_spelt_out, json_schema_input_type=_Written)]


class Limit(BaseModel):
    """What one resource may cost: from `min` to `max`, both included, or within a share `tolerance` of `target`.

    Amounts are numbers in the resource's unit, or text with a suffix: `300e6`, `300M`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    min: Amount | None = None
    max: Amount | None = None
    target: Amount | None = None
    tolerance: NonNegativeFloat | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Limit:
        if (self.target is None) != (self.tolerance is None):
            raise ValueError("target and tolerance go together, e.g. target 4.8M and tolerance 0.03")
        if self.target is not None and (self.min is not None or self.max is not None):
            raise ValueError("give either target and tolerance, or min and max")
        return self

    def interval(self) -> Window:
        """The least and the greatest cost allowed; -inf and inf where there is no limit."""
        if self.target is not None and self.tolerance is not None:
            return self.target * (1 - self.tolerance), self.target * (1 + self.tolerance)
        return -math.inf if self.min is None else self.min, math.inf if self.max is None else self.max


class Budget(RootModel[dict[str, Limit]]):
    """A limit for each resource (`macs`, `params`, `latency_ms`) that has one; empty, it allows everything."""

    model_config = ConfigDict(frozen=True)

    def met(self, costs: Mapping[str, Tensor]) -> Tensor:
        """Which architectures meet every limit: bool of shape (architectures,), from what `Costs.cost` gives."""
        met = torch.ones_like(next(iter(costs.values())), dtype=torch.bool)
        for resource, (low, high) in self._windows().items():
            cost = costs[resource].double()  # exact: integers compared with floats would be rounded to float32
            met &= (low <= cost) & (cost <= high)
        return met

    def excess(self, costs: Mapping[str, Tensor]) -> Tensor:
        """How far beyond the limits architectures are, summed over the limits in shares of each; 0 where all are met.

        Float64 of shape (architectures,).
        """
        excess = torch.zeros_like(next(iter(costs.values())), dtype=torch.float64)
        for resource, (low, high) in self._windows().items():
            cost = costs[resource].double()
            excess += (low - cost).clamp(min=0) / max(low, 1e-9) + (cost - high).clamp(min=0) / max(high, 1e-9)
        return excess

    def check(self, costs: Costs) -> None:
        """Settle that some architecture of the space meets all limits: exactly, where costs are a table.

        Raises:
            UserError: if none does, or is found by the search that has to do without a table; or if a limit is empty or
                on a resource that is not known. It says what is possible.
        """
        feasibility = feasibility_of(costs)
        for resource, limit in self.root.items():
            if resource not in costs.resources:
                raise UserError(_unknown(resource, costs))
            low, high = limit.interval()
            if not low <= high or (low, high) == (-math.inf, math.inf):
                wrong = "limits nothing" if low < high else f"is empty, being {window_text(resource, (low, high))}"
                raise UserError(f"The budget of {resource} {wrong}; {feasibility.possible(resource, {})}.")
        windows = self._windows()
        if windows and feasibility.find(windows) is None:
            for size in range(1, len(windows) + 1):
                for names in combinations(windows, size):
                    asked = {name: windows[name] for name in names}
                    if size == len(windows) or feasibility.find(asked) is None:
                        raise UserError(feasibility.refusal(asked))

    def example(self, space: SearchSpace, costs: Costs, generator: np.random.Generator) -> Architecture | None:
        """An architecture of the space that meets the budget, another one for each draw; None if none is found."""
        found = feasibility_of(costs).find(self._windows(), generator)
        return None if found is None else space.architecture(found)

    def _windows(self) -> dict[str, Window]:
        return {resource: limit.interval() for resource, limit in self.root.items()}


def _unknown(resource: str, costs: Costs) -> str:
    if resource == "latency_ms":
        return "The budget limits latency_ms, but there is no latency table: give one, or limit macs or params."
    return f"The budget limits {resource!r}, which no architecture is measured by; {nearest(resource, costs.resources)}"
