"""What the report says first: the network with its accuracy, its costs beside the limits, and what to beware of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from raynas.recipe.recipe import read_run_data, read_run_recipe
from raynas.reporting.units import format_costs
from raynas.results.class_accuracy import accuracy_of_best
from raynas.results.fit_result import read_networks
from raynas.results.guessing import LargestClass, describe_guess
from raynas.results.outcome import Outcome
from raynas.storage.run_folder import RunFolder
from search_spaces.budget.budget import Budget
from search_spaces.budget.feasibility import amount_text, window_text
from search_spaces.budget.integer_program import Window
from search_spaces.errors import format_count, name_some


def lead(outcome: Outcome) -> Iterator[str]:
    """Yield sentences: the best network, its costs beside the budget, the classes, the images, warnings."""
    folder = RunFolder(outcome.run)
    data = read_run_data(folder)
    networks = read_networks(folder)
    best = networks[0] if networks else outcome.best
    if networks:
        images = format_count(data.counts["test"], "image")
        yield f"test top-1 {best['top1']:.2f} % of {images}, {format_costs(best)}"
        guess = describe_guess(best["top1"], data.counts["test"], LargestClass(*data.largest_test_class))
        if guess is not None:
            yield f"warning: {guess}"
    by_class = accuracy_of_best(outcome)
    if by_class is not None:
        yield by_class.describe()
    budget = Budget.model_validate(read_run_recipe(folder)["budget"])
    if budget.root:
        limits = ((key, limit.interval()) for key, limit in budget.root.items())
        yield "budget: " + "; ".join(_compare(key, window, best) for key, window in limits)
    yield f"{format_count(len(data.classes), 'class')}: {name_some(data.classes)}"
    yield from data.remarks


def _compare(resource: str, window: Window, network: Mapping[str, Any]) -> str:
    """Return a limit beside the cost of the network: `macs at most 300,000 (the network: 281,440)`."""
    cost = network.get(resource)
    beside = "" if cost is None or cost != cost else f" (the network: {amount_text(resource, cost)})"
    return f"{window_text(resource, window)}{beside}"
