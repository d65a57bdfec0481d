"""The layers of a space, whose choices have a common factor in a joint distribution (FP-NAS section 3.1)."""

from __future__ import annotations

from itertools import groupby
from math import prod
from typing import TYPE_CHECKING

from search_spaces.errors import UserError

if TYPE_CHECKING:
    from search_spaces import SearchSpace

MAX_COMBINATIONS = 1_000_000
"""The most combinations of values that the table of one factor may have."""


def joint_layers(space: SearchSpace) -> list[tuple[int, ...]]:
    """Return the positions of the choices of each layer: a row or a block of FP-NAS's spaces, a stage of other spaces.

    Raises:
        UserError: if the choices of a layer have too many combinations for a table.
    """
    positions = range(len(space.choices))
    layers = [tuple(layer) for _, layer in groupby(positions, lambda position: space.choices[position].group)]
    values = space.values()
    for layer in layers:
        if prod(len(values[position]) for position in layer) > MAX_COMBINATIONS:
            group = space.choices[layer[0]].group
            raise UserError(
                f"A joint distribution over the choices of {group} of {space.name} has too many parameters: use a "
                "factorised one."
            )
    return layers
