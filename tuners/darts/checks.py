"""Checks of a recipe that DARTS, HM-NAS and FTSO share, because they search cells by gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search_spaces.architecture import NOTHING
from search_spaces.cell.space import CellSpace
from search_spaces.errors import UserError
from tuners.darts.cells import edges_by_node

if TYPE_CHECKING:
    from raynas.study.run_plan import Plan
    from search_spaces import Budget, SearchSpace


def check_no_budget(budget: Budget, method: str) -> None:
    """Raise UserError if the recipe has a budget: gradient search of cells looks at accuracy alone."""
    if budget.root:
        raise UserError(f"The method {method} accepts no budget in cells: leave the key budget out.")


def check_space_has_cells(space: SearchSpace, method: str) -> None:
    """Raise UserError if the space is not a space of cells."""
    if not isinstance(space, CellSpace):
        raise UserError(
            f"{space.name} has no cells with edges for the method {method} to weigh: use a space such as darts or "
            "nats-bench."
        )


def check_edges_can_be_removed(space: SearchSpace, inputs: int | None) -> None:
    """Raise UserError if a node has more inputs than it shall keep, and an edge into the node cannot be removed.

    Args:
        inputs: how many inputs a node keeps; None if every edge stays.
    """
    for edges in edges_by_node(space) if inputs is not None else ():
        for choice in (space.choices[edge] for edge in edges):
            if len(edges) > (inputs or 0) and not choice.subset and NOTHING not in choice.options:
                raise UserError(
                    f"{choice.name} of {space.name} cannot be left out: put {NOTHING} among its operations, or let it "
                    "take any number of them by subset: true."
                )


def check_partial_channels(space: SearchSpace) -> None:
    """Raise UserError if the operations of a supernet run on all channels, which is DARTS with weights of edges."""
    if space.settings.get("partial", 1) == 1:
        raise UserError(
            f"The method pc-darts runs operations on a part of the channels, but space.partial of {space.name} is 1: "
            "set space.partial=4 on darts or darts-imagenet, or method.name=darts."
        )


def check_second_order_uses_sgd(plan: Plan, order: int) -> None:
    """Raise UserError if the second order would look ahead by an optimizer other than SGD."""
    if order == 2 and plan.recipe.training.optimizer != "sgd":
        raise UserError(
            f"training.optimizer is {plan.recipe.training.optimizer}; method.order=2 looks ahead by a training step of "
            "SGD. Set training.optimizer=sgd, or method.order=1."
        )
