"""The spaces of HourNAS's two searches: the minimal space of the vital blocks, and the space with these blocks fixed.

Each choice of a space is one block of the network. A block is vital if every path through the network runs through it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from search_spaces.errors import UserError
from tuners.most_probable import most_probable_within

if TYPE_CHECKING:
    from torch import Tensor

    from search_spaces import Budget, Costs, SearchSpace

_SKIP = "skip"


def restrict_to_vital(space: SearchSpace) -> SearchSpace:
    """Return the space of the minimal supernet: vital blocks without skip, all other blocks with skip alone.

    Raises:
        UserError: if there are no vital blocks or no others, if a vital block has only skip, or if another block has
            no skip.
    """
    vital = _vital_names(space)
    others = [choice for choice in space.choices if choice.name not in vital]
    if not vital or not others:
        lacking = "no vital block" if not vital else "no block that is not vital"
        raise UserError(f"{space.name} has {lacking}: HourNAS searches vital blocks first and the others next.")
    options_of = {}
    for name, options in _surviving_options(space).items():
        options_of[name] = [option for option in options if (option == _SKIP) != (name in vital)]
        if not options_of[name]:
            role = "is vital, but has only the option" if name in vital else "is not vital, but lacks the option"
            raise UserError(f"{name} of {space.name} {role} skip: change its options, or use another space.")
    return space.restrict(options_of)


def remove_vital_skips(space: SearchSpace) -> SearchSpace:
    """Return the space without skip in its vital blocks; raise UserError as `restrict_to_vital` does."""
    vital = _vital_names(space)
    minimal = _surviving_options(restrict_to_vital(space))
    return space.restrict({name: options for name, options in minimal.items() if name in vital})


def fix_vital_blocks(space: SearchSpace, costs: Costs, budget: Budget, theta: Tensor) -> SearchSpace:
    """Return the space with each vital block fixed to its most probable operation (algorithm 1, line 11).

    Operations that leave no architecture within the targets do not count.

    Args:
        theta: the learnt parameters of the first search, shape (choices, options).
    """
    import torch

    vital = _vital_names(space)
    is_vital = torch.tensor([choice.name in vital for choice in space.choices])
    architecture = most_probable_within(remove_vital_skips(space), costs, budget, theta * is_vital[:, None])
    operations = zip(space.choices, architecture.indices, strict=True)
    return space.restrict(
        {choice.name: [choice.options[index]] for choice, index in operations if choice.name in vital}
    )


def fixed_operations(space: SearchSpace) -> dict[str, str]:
    """Return the operation of each block that has only one."""
    return {name: options[0] for name, options in _surviving_options(space).items() if len(options) == 1}


def _vital_names(space: SearchSpace) -> set[str]:
    return {choice.name for choice in space.vital()}


def _surviving_options(space: SearchSpace) -> dict[str, list[str]]:
    return {
        choice.name: [choice.options[option] for option in surviving]
        for choice, surviving in zip(space.choices, space.surviving, strict=True)
    }
