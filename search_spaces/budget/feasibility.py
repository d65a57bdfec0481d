"""Whether costs can lie within windows, and if not, what to say.

Of a cost table an integer programme knows, exactly. Other costs are searched: their bounds are exact, so that a window
beyond them is refused for good; within them an architecture is looked for among random ones and, from the nearest of
them and from those at the bounds, step by step.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from search_spaces.budget.integer_program import Window, find_architecture
from search_spaces.costs import Costs, TableCosts

DRAWN = 10_000
"""Random architectures that stand for a space whose costs are no table."""

STARTS = 10
"""How many of the nearest are walked from."""


class Feasibility(ABC):
    """What is known of the costs of a space's architectures."""

    costs: Costs

    @abstractmethod
    def find(
        self, windows: Mapping[str, Window], generator: np.random.Generator | None = None
    ) -> tuple[int, ...] | None:
        """An architecture within the windows, with a generator one for each draw; None if none is found."""

    @abstractmethod
    def refusal(self, windows: Mapping[str, Window]) -> str:
        """Why `find` finds nothing within these windows, any fewer of which can be met."""

    @abstractmethod
    def possible(self, resource: str, given: Mapping[str, Window]) -> str:
        """What the resource can cost, the given limits being kept."""


def feasibility_of(costs: Costs) -> Feasibility:
    return Exact(costs) if isinstance(costs, TableCosts) else Searched(costs)


@dataclass(frozen=True)
class Exact(Feasibility):
    """By integer programmes on the table."""

    costs: TableCosts

    def find(
        self, windows: Mapping[str, Window], generator: np.random.Generator | None = None
    ) -> tuple[int, ...] | None:
        objective = np.zeros(tuple(next(iter(self.costs.table.values())).shape))
        if generator is None:
            return find_architecture(self.costs, windows, objective) if _within_bounds(self.costs, windows) else None
        objective = generator.random(objective.shape)
        subsets = sorted(self.costs.subsets)
        if subsets:  # else the least sum would be that of no option at all
            objective[subsets] -= objective[subsets].mean()
        return find_architecture(self.costs, windows, objective, gap=0.3, grouped=False)

    def refusal(self, windows: Mapping[str, Window]) -> str:
        *others, last = windows
        given = {name: windows[name] for name in others}
        low, high = windows[last]
        below = self._extreme(last, {**given, last: (-math.inf, high)}, -1)
        above = self._extreme(last, {**given, last: (low, math.inf)}, +1)
        problem = "exclude each other" if others else "is met by no architecture"
        hole = ""
        if below is not None and above is not None:
            hole = f", but nothing between {_amount(last, below)} and {_amount(last, above)}"
        return f"{_all(windows)} {problem}; {self.possible(last, given)}{hole}."

    def possible(self, resource: str, given: Mapping[str, Window]) -> str:
        least, greatest = self.costs.bounds()[resource]
        if not given:
            return _in_space(self.costs, resource)
        least, greatest = (self._extreme(resource, given, sign) or end for sign, end in ((+1, least), (-1, greatest)))
        return f"with {_all(given)}, {_from_to(resource, least, greatest)}"

    def _extreme(self, resource: str, windows: Mapping[str, Window], sign: int) -> float | None:
        """The least (sign +1) or greatest (-1) cost within the windows; None if nothing lies within them."""
        table = self.costs.table[resource].numpy()
        found = find_architecture(self.costs, windows, sign * table / np.nanmax(table))
        return None if found is None else float(self.costs.total(torch.tensor([found]))[resource].item())


@dataclass(frozen=True)
class Searched(Feasibility):
    """By random architectures and, from the nearest and the extreme ones, by the single choice that leads nearest."""

    costs: Costs

    def find(
        self, windows: Mapping[str, Window], generator: np.random.Generator | None = None
    ) -> tuple[int, ...] | None:
        if not _within_bounds(self.costs, windows):
            return None
        drawn = self._sample if generator is None else self._draw(generator, DRAWN // 10)
        nearest = drawn[self._distance(drawn, windows).argsort(stable=True)[:STARTS]]
        for start in torch.cat([nearest, self.costs.extremes()]):
            found = self._approach(start, windows)
            if found is not None:
                return tuple(found.tolist())
        return None

    def refusal(self, windows: Mapping[str, Window]) -> str:
        *others, last = windows
        if not _within_bounds(self.costs, windows):
            return f"{_all(windows)} is met by no architecture; {_in_space(self.costs, last)}."
        verb = "are" if others else "is"
        given = {name: windows[name] for name in others}
        return (
            f"{_all(windows)} {verb} met by none of {DRAWN:,} random architectures, nor by what a search found from "
            f"there; {self.possible(last, given)}."
        )

    def possible(self, resource: str, given: Mapping[str, Window]) -> str:
        if not given:
            return _in_space(self.costs, resource)
        within = self._distance(self._sample, given) == 0
        cost = self.costs.total(self._sample[within])[resource]
        if not len(cost):
            return _in_space(self.costs, resource)
        seen = f"{_amount(resource, cost.min().item())} to {_amount(resource, cost.max().item())}"
        return f"of those with {_all(given)}, {resource} is {seen}"

    @cached_property
    def _sample(self) -> Tensor:
        return self._draw(np.random.default_rng(0), DRAWN)

    @cached_property
    def _ranges(self) -> dict[str, float]:
        return {resource: max(high - low, 1.0) for resource, (low, high) in self.costs.bounds().items()}

    def _draw(self, generator: np.random.Generator, count: int) -> Tensor:
        """Option indices of random architectures, shape (count, choices)."""
        surviving = self.costs.surviving
        drawn = generator.integers([len(kept) for kept in surviving], size=(count, len(surviving)))
        columns = [torch.tensor(kept)[drawn[:, choice]] for choice, kept in enumerate(surviving)]
        return torch.stack(columns, dim=1)

    def _distance(self, indices: Tensor, windows: Mapping[str, Window]) -> Tensor:
        """How far the costs lie from the windows, summed over the resources in shares of each one's range."""
        total = self.costs.total(indices)
        far = torch.zeros(len(indices), dtype=torch.float64)
        for resource, (low, high) in windows.items():
            cost = total[resource].double()
            beyond = (low - cost).clamp(min=0) + (cost - high).clamp(min=0)
            far += beyond / self._ranges[resource]
        return far

    def _approach(self, indices: Tensor, windows: Mapping[str, Window]) -> Tensor | None:
        """Change the one choice that leads nearest until the windows are met; None where no change leads nearer."""
        least = self._distance(indices[None], windows)[0]
        while least > 0:
            neighbours = self._neighbours(indices)
            far = self._distance(neighbours, windows)
            if far.min() >= least:
                return None
            least, indices = far.min(), neighbours[far.argmin()]
        return indices

    def _neighbours(self, indices: Tensor) -> Tensor:
        """All that one other choice makes of an architecture."""
        choices = torch.tensor([choice for choice, kept in enumerate(self.costs.surviving) for _ in kept])
        neighbours = indices.repeat(len(choices), 1)
        neighbours[range(len(choices)), choices] = torch.tensor([i for kept in self.costs.surviving for i in kept])
        return neighbours


def window_text(resource: str, window: Window) -> str:
    """`macs at most 300,000,000`."""
    low, high = (_amount(resource, end) for end in window)
    if math.isinf(window[0]):
        return f"{resource} at most {high}"
    return f"{resource} at least {low}" if math.isinf(window[1]) else f"{resource} from {low} to {high}"


def _all(windows: Mapping[str, Window]) -> str:
    return " and ".join(window_text(name, window) for name, window in windows.items())


def _within_bounds(costs: Costs, windows: Mapping[str, Window]) -> bool:
    """Whether no window lies beyond what its resource can cost."""
    bounds = costs.bounds()
    return all(bounds[name][0] <= high and low <= bounds[name][1] for name, (low, high) in windows.items())


def _in_space(costs: Costs, resource: str) -> str:
    return f"in {costs.space}, {_from_to(resource, *costs.bounds()[resource])}"


def _from_to(resource: str, least: float, greatest: float) -> str:
    return f"{resource} can be {_amount(resource, least)} to {_amount(resource, greatest)}"


def _amount(resource: str, cost: float) -> str:
    return f"{cost:,.4f}" if resource == "latency_ms" else f"{cost:,.0f}"
