"""Limits on the costs of architectures, and whether any architecture meets them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    ConfigDict,
    NonNegativeFloat,
    RootModel,
    model_validator,
)

from search_spaces.architecture import Architecture
from search_spaces.budget.amounts import Amount
from search_spaces.budget.feasibility import feasibility_of, window_text
from search_spaces.budget.integer_program import Window
from search_spaces.costs import PAPER_PREFIX, Amounts, Costs
from search_spaces.errors import UserError, nearest
from search_spaces.space import SearchSpace


class Limit(BaseModel):
    """The limit on one resource: from `min` to `max`, both included, or within a share `tolerance` of `target`.

    Amounts are numbers in the resource's unit, or texts: `300e6`, `300M`, `300,000,000` (`read_amount`).
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
        """Return the least and the greatest cost allowed; -inf and inf mean no limit."""
        if self.target is not None and self.tolerance is not None:
            return self.target * (1 - self.tolerance), self.target * (1 + self.tolerance)
        return -math.inf if self.min is None else self.min, math.inf if self.max is None else self.max


class Budget(RootModel[dict[str, Limit]]):
    """A limit for each limited resource (`macs`, `params`, `latency_ms`). An empty budget allows everything.

    With `counting: paper`, multiply-adds and parameters count as the space's paper counts: the limits of `macs` and
    `params` become limits of `paper_macs` and `paper_params`.
    """

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={"properties": {"counting": {"enum": ["plain", "paper"], "default": "plain"}}},
    )

    @model_validator(mode="before")
    @classmethod
    def _counted(cls, content: Any) -> Any:
        if not isinstance(content, Mapping) or "counting" not in content:
            return content
        limits = {resource: limit for resource, limit in content.items() if resource != "counting"}
        if content["counting"] not in ("plain", "paper"):
            raise ValueError(f"counting is plain or paper, not {content['counting']!r}")
        if content["counting"] == "plain":
            return limits
        return {PAPER_PREFIX + key if key in ("macs", "params") else key: limit for key, limit in limits.items()}

    def met(self, costs: Mapping[str, Amounts]) -> NDArray[np.bool_]:
        """Return which architectures meet every limit: bool of shape (architectures,).

        Args:
            costs: the result of `Costs.cost`.
        """
        is_met = np.ones_like(next(iter(costs.values())), dtype=np.bool_)
        for resource, (low, high) in self._windows().items():
            is_met &= (low <= costs[resource]) & (costs[resource] <= high)
        return is_met

    def excess(self, costs: Mapping[str, Amounts]) -> NDArray[np.float64]:
        """Return how far architectures exceed the limits: the sum over the limits, each relative; 0 if all are met.

        Float64 of shape (architectures,).
        """
        excess = np.zeros_like(next(iter(costs.values())), dtype=np.float64)
        for resource, (low, high) in self._windows().items():
            cost = costs[resource]
            excess += np.maximum(low - cost, 0) / max(low, 1e-9) + np.maximum(cost - high, 0) / max(high, 1e-9)
        return excess

    def front_resource(self) -> str:
        """Return the cost of a run's Pareto front: the first limited resource, or `macs`. Fronts count plainly."""
        return next(iter(self.root), "macs").removeprefix(PAPER_PREFIX)

    def check(self, costs: Costs) -> None:
        """Check that an architecture of the space meets all limits.

        The check is exact if costs are a table, and a search otherwise.

        Raises:
            UserError: if no such architecture exists, or the search finds none; or if a limit is empty or its resource
                is unknown. The message names the possible costs.
        """
        feasibility = feasibility_of(costs)
        for resource, limit in self.root.items():
            if resource not in costs.resources:
                raise UserError(_unknown(resource, costs))
            low, high = limit.interval()
            if not low <= high or (low, high) == (-math.inf, math.inf):
                window = window_text(resource, (low, high))
                problem = "limits nothing" if low < high else f"allows nothing: it is {window}"
                raise UserError(f"The budget of {resource} {problem}; {feasibility.possible_costs(resource, {})}.")
        windows = self._windows()
        if windows and feasibility.find(windows) is None:
            for size in range(1, len(windows) + 1):
                for names in combinations(windows, size):
                    part = {name: windows[name] for name in names}
                    if size == len(windows) or feasibility.find(part) is None:
                        raise UserError(f"{feasibility.explain(part)} Change {' or '.join(map(_key, part.items()))}.")

    def example(self, space: SearchSpace, costs: Costs, generator: np.random.Generator) -> Architecture | None:
        """Return an architecture that meets the budget; None if none is found. Each draw gives another architecture."""
        indices = feasibility_of(costs).find(self._windows(), generator)
        return None if indices is None else space.architecture(indices)

    def _windows(self) -> dict[str, Window]:
        return {resource: limit.interval() for resource, limit in self.root.items()}


def _key(limit: tuple[str, Window]) -> str:
    """Return the key of a recipe that sets a limit: `budget.macs.max`, or `budget.macs` for both ends."""
    resource, (low, high) = limit
    end = ".max" if math.isinf(low) else ".min" if math.isinf(high) else ""
    return f"budget.{resource.removeprefix(PAPER_PREFIX)}{end}"


def _unknown(resource: str, costs: Costs) -> str:
    if resource.startswith(PAPER_PREFIX):
        return f"The budget counts as the paper of {costs.space}, which counts plainly: remove budget.counting."
    if resource == "latency_ms":
        return (
            "The budget limits latency_ms, but there is no latency table: set latency.path to one, or limit macs or "
            "params."
        )
    return f"The budget limits {resource!r}, which is no cost of an architecture; {nearest(resource, costs.resources)}"
