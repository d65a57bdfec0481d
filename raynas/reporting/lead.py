"""What the report says first: the network with its accuracy, its costs beside the limits, and what to beware of."""

from __future__ import annotations

from collections.abc import Iterator

from raynas.recipe.recipe import read_run_data, read_run_recipe
from raynas.reporting.units import format_costs
from raynas.results.fit_result import read_networks
from raynas.results.guessing import LargestClass, describe_guess
from raynas.results.outcome import Outcome
from raynas.storage.run_folder import RunFolder
from search_spaces.budget.budget import Budget
from search_spaces.budget.feasibility import window_text
from search_spaces.errors import format_count


def lead(outcome: Outcome) -> Iterator[str]:
    """Yield sentences: the best network after stand-alone training, the budget, the images, and warnings."""
    folder = RunFolder(outcome.run)
    data = read_run_data(folder)
    networks = read_networks(folder)
    if networks:
        best = networks[0]
        yield f"test top-1 {best['top1']:.2f} % of {format_count(data.counts['test'], 'image')}, {format_costs(best)}"
        guess = describe_guess(best["top1"], data.counts["test"], LargestClass(*data.largest_test_class))
        if guess is not None:
            yield f"warning: {guess}"
    budget = Budget.model_validate(read_run_recipe(folder)["budget"])
    if budget.root:
        yield "budget: " + ", ".join(window_text(key, limit.interval()) for key, limit in budget.root.items())
    yield from data.remarks
