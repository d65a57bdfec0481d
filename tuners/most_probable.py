"""The most probable architecture that meets a budget, under a distribution over architectures.

Where each choice is drawn on its own and costs are a table, an integer programme finds it; else it is sought from the
most probable of all.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from search_spaces.budget.integer_program import find_architecture
from search_spaces.errors import UserError

if TYPE_CHECKING:
    from search_spaces import Architecture, Budget, Costs, SearchSpace

_LEAST_LOG_PROBABILITY = -1e3
"""Of an option, so that the integer programme reckons with finite numbers."""


def most_probable_within(space: SearchSpace, costs: Costs, budget: Budget, theta: Tensor) -> Architecture:
    """The most probable architecture where each choice is drawn on its own: exact, by an integer programme.

    The most probable option of each choice wherever they meet the budget together.

    Args:
        theta: the logits, shape (choices, most options of a choice).

    Raises:
        UserError: if no architecture of the space meets the budget, or costs are no table.
    """
    table = replace(costs.as_table(), surviving=space.surviving)
    log_probability = torch.log_softmax(theta.double().masked_fill(~table.kept, -torch.inf), dim=-1)
    unlikelihood = -log_probability.clamp(min=_LEAST_LOG_PROBABILITY).numpy()
    found = find_architecture(
        table, {name: limit.interval() for name, limit in budget.root.items()}, unlikelihood, grouped=False
    )
    if found is None:
        raise UserError(f"No architecture of what is left of {space.name} meets the budget: widen it.")
    return space.architecture(found)
