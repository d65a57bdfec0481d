"""Find the most probable architecture within a budget, if each choice is drawn on its own and costs are a table."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from search_spaces.budget.integer_program import find_architecture
from search_spaces.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from search_spaces import Architecture, Budget, Costs, SearchSpace

_MIN_LOG_PROBABILITY = -1e3
"""The least log-probability of an option, because the integer program needs finite numbers."""


def most_probable_within(space: SearchSpace, costs: Costs, budget: Budget, theta: Tensor) -> Architecture:
    """Return the most probable architecture within a budget: exactly, by an integer program.

    If the most probable options of all choices meet the budget together, they are the result.

    Args:
        theta: the logits, shape (choices, most options of a choice).

    Raises:
        UserError: if no architecture of the space meets the budget, or the costs are no table.
    """
    import torch  # takes a second to import; methods that name this function are also only described

    table = replace(costs.as_table(), surviving=space.surviving)
    log_probability = torch.log_softmax(theta.double().masked_fill(~torch.from_numpy(table.kept), -torch.inf), dim=-1)
    loss = -log_probability.clamp(min=_MIN_LOG_PROBABILITY).numpy()
    indices = find_architecture(
        table, {name: limit.interval() for name, limit in budget.root.items()}, loss, grouped=False
    )
    if indices is None:
        raise UserError(f"No architecture of the surviving part of {space.name} meets the budget: widen the budget.")
    return space.architecture(indices)
