"""The check of the settings of stand-alone training, before anything is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search_spaces.cell.space import CellSpace
from search_spaces.errors import UserError

if TYPE_CHECKING:
    from raynas.recipe.settings import FitSettings
    from search_spaces import SearchSpace


def check_standalone_settings(space: SearchSpace, settings: FitSettings) -> None:
    """Raises UserError if a network of this space cannot be trained with the settings of `fit`."""
    has_cells = isinstance(space, CellSpace)
    if (settings.auxiliary_weight or settings.drop_path) and not has_cells:
        raise UserError(
            f"fit.auxiliary_weight and fit.drop_path are for networks of cells, and {space.name} has none: leave them "
            "out."
        )
    if settings.stochastic_depth and has_cells:
        raise UserError(
            f"fit.stochastic_depth is for networks of blocks, but {space.name} has cells: set fit.drop_path instead."
        )
    if settings.teacher is not None:
        from raynas.training.teacher import check_teacher  # reads weights with torch

        check_teacher(settings.teacher, space.num_classes)
