"""Whether an architecture's costs can lie within limits, and the message if not.

An integer program decides this exactly for a table of costs. Other costs are searched. Their bounds are exact, so
that a limit beyond them is refused for certain. Within the bounds a search starts from the nearest of many random
architectures, and from those at the bounds, and changes one choice at a time.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from search_spaces.budget.integer_program import Window, find_architecture
from search_spaces.costs import Costs, Indices, TableCosts

DRAWN = 10_000
"""The number of random architectures that represent a space without a table of costs."""

STARTS = 10
"""The number of nearest architectures that the search starts from."""


class Feasibility(ABC):
    """Finds architectures within limits on costs. A `window` is the least and the greatest cost allowed."""

    costs: Costs

    @abstractmethod
    def find(
        self, windows: Mapping[str, Window], generator: np.random.Generator | None = None
    ) -> tuple[int, ...] | None:
        """Return an architecture within the windows; None if none is found.

        Args:
            generator: draws another architecture at each call.
        """

    @abstractmethod
    def explain(self, windows: Mapping[str, Window]) -> str:
        """Return why `find` finds nothing within these windows, if any fewer of them can be met."""

    @abstractmethod
    def possible_costs(self, resource: str, others: Mapping[str, Window]) -> str:
        """Return a clause about the resource's possible costs, if the other windows are met."""


def feasibility_of(costs: Costs) -> Feasibility:
    return ExactFeasibility(costs) if isinstance(costs, TableCosts) else SearchedFeasibility(costs)


@dataclass(frozen=True)
class ExactFeasibility(Feasibility):
    """Decides by integer programs on the table of costs."""

    costs: TableCosts

    def find(
        self, windows: Mapping[str, Window], generator: np.random.Generator | None = None
    ) -> tuple[int, ...] | None:
        objective = np.zeros_like(next(iter(self.costs.table.values())))
        if generator is None:
            return find_architecture(self.costs, windows, objective) if _within_bounds(self.costs, windows) else None
        objective = generator.random(objective.shape)
        subsets = sorted(self.costs.subsets)
        if subsets:  # otherwise the least sum would always be that of no option at all
            objective[subsets] -= objective[subsets].mean()
        return find_architecture(self.costs, windows, objective, gap=0.3, grouped=False)

    def explain(self, windows: Mapping[str, Window]) -> str:
        *names, last = windows
        if not _within_bounds(self.costs, windows):  # a single window; its message needs no integer program
            return f"{_all(windows)} is met by no architecture; {_in_space(self.costs, last)}."
        others = {name: windows[name] for name in names}
        low, high = windows[last]
        below = self._extreme(last, {**others, last: (-math.inf, high)}, -1)
        above = self._extreme(last, {**others, last: (low, math.inf)}, +1)
        problem = "exclude each other" if others else "is met by no architecture"
        gap = ""
        if below is not None and above is not None:
            gap = f", but nothing between {amount_text(last, below)} and {amount_text(last, above)}"
        return f"{_all(windows)} {problem}; {self.possible_costs(last, others)}{gap}."

    def possible_costs(self, resource: str, others: Mapping[str, Window]) -> str:
        least, greatest = self.costs.bounds()[resource]
        if not others:
            return _in_space(self.costs, resource)
        least, greatest = (self._extreme(resource, others, sign) or end for sign, end in ((+1, least), (-1, greatest)))
        return f"with {_all(others)}, {_from_to(resource, least, greatest)}"

    def _extreme(self, resource: str, windows: Mapping[str, Window], sign: int) -> float | None:
        """Return the least (sign +1) or greatest (-1) cost within the windows; None if nothing lies within them."""
        table = self.costs.table[resource]
        indices = find_architecture(self.costs, windows, sign * table / np.nanmax(table))
        return None if indices is None else float(self.costs.total(np.array([indices]))[resource].item())


@dataclass(frozen=True)
class SearchedFeasibility(Feasibility):
    """Searches from random and extreme architectures, always changing the single choice that helps most."""

    costs: Costs

    def find(
        self, windows: Mapping[str, Window], generator: np.random.Generator | None = None
    ) -> tuple[int, ...] | None:
        if not _within_bounds(self.costs, windows):
            return None
        drawn = self._sample if generator is None else self._draw(generator, DRAWN // 10)
        nearest = drawn[self._distance(drawn, windows).argsort(kind="stable")[:STARTS]]
        for start in np.concatenate([nearest, self.costs.extremes()]):
            indices = self._approach(start, windows)
            if indices is not None:
                return tuple(indices.tolist())
        return None

    def explain(self, windows: Mapping[str, Window]) -> str:
        *names, last = windows
        if not _within_bounds(self.costs, windows):
            return f"{_all(windows)} is met by no architecture; {_in_space(self.costs, last)}."
        verb = "are" if names else "is"
        others = {name: windows[name] for name in names}
        return (
            f"{_all(windows)} {verb} met by none of {DRAWN:,} random architectures, nor by a search from the nearest "
            f"of them; {self.possible_costs(last, others)}."
        )

    def possible_costs(self, resource: str, others: Mapping[str, Window]) -> str:
        if not others:
            return _in_space(self.costs, resource)
        within = self._distance(self._sample, others) == 0
        cost = self.costs.total(self._sample[within])[resource]
        if not len(cost):
            return _in_space(self.costs, resource)
        sampled = f"{amount_text(resource, cost.min().item())} to {amount_text(resource, cost.max().item())}"
        return f"among random architectures with {_all(others)}, {resource} is {sampled}"

    @cached_property
    def _sample(self) -> Indices:
        return self._draw(np.random.default_rng(0), DRAWN)

    @cached_property
    def _ranges(self) -> dict[str, float]:
        return {resource: max(high - low, 1.0) for resource, (low, high) in self.costs.bounds().items()}

    def _draw(self, generator: np.random.Generator, count: int) -> Indices:
        """Return option indices of random architectures, shape (count, choices)."""
        surviving = self.costs.surviving
        drawn = generator.integers([len(kept) for kept in surviving], size=(count, len(surviving)))
        columns = [np.array(kept)[drawn[:, choice]] for choice, kept in enumerate(surviving)]
        return np.stack(columns, axis=1)

    def _distance(self, indices: Indices, windows: Mapping[str, Window]) -> NDArray[np.float64]:
        """Return the distance of the costs from the windows, summed over the resources, each relative to its range."""
        total = self.costs.total(indices)
        distance = np.zeros(len(indices))
        for resource, (low, high) in windows.items():
            cost = total[resource]
            beyond = np.maximum(low - cost, 0) + np.maximum(cost - high, 0)
            distance += beyond / self._ranges[resource]
        return distance

    def _approach(self, indices: Indices, windows: Mapping[str, Window]) -> Indices | None:
        """Change the choice that helps most until the windows are met; return None if no change helps."""
        least = self._distance(indices[None], windows)[0]
        while least > 0:
            neighbours = self._neighbours(indices)
            distances = self._distance(neighbours, windows)
            if distances.min() >= least:
                return None
            least, indices = distances.min(), neighbours[distances.argmin()]
        return indices

    def _neighbours(self, indices: Indices) -> Indices:
        """Return all architectures that differ in one choice."""
        choices = np.array([choice for choice, kept in enumerate(self.costs.surviving) for _ in kept])
        neighbours = np.tile(indices, (len(choices), 1))
        neighbours[range(len(choices)), choices] = np.array([i for kept in self.costs.surviving for i in kept])
        return neighbours


def window_text(resource: str, window: Window) -> str:
    """Return a window as text: `macs at most 300,000,000`."""
    low, high = (amount_text(resource, end) for end in window)
    if math.isinf(window[0]):
        return f"{resource} at most {high}"
    return f"{resource} at least {low}" if math.isinf(window[1]) else f"{resource} from {low} to {high}"


def _all(windows: Mapping[str, Window]) -> str:
    return " and ".join(window_text(name, window) for name, window in windows.items())


def _within_bounds(costs: Costs, windows: Mapping[str, Window]) -> bool:
    """Return whether every window overlaps the resource's bounds."""
    bounds = costs.bounds()
    return all(bounds[name][0] <= high and low <= bounds[name][1] for name, (low, high) in windows.items())


def _in_space(costs: Costs, resource: str) -> str:
    return f"in {costs.space}, {_from_to(resource, *costs.bounds()[resource])}"


def _from_to(resource: str, least: float, greatest: float) -> str:
    return f"{resource} can be {amount_text(resource, least)} to {amount_text(resource, greatest)}"


def amount_text(resource: str, cost: float) -> str:
    """Return a cost in its own unit: `3,108,000`, or milliseconds with four digits of the fraction."""
    return f"{cost:,.4f}" if resource == "latency_ms" else f"{cost:,.0f}"
