"""Load a space by name, through the entry-point group `raynas.spaces`, so that any package can add spaces.

A user's own space is loaded by the path of its file.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from search_spaces.errors import UserError, nearest
from search_spaces.registry import ENTRY_POINT_GROUP, check_known_settings, is_space_file, names

if TYPE_CHECKING:
    from search_spaces.space import SearchSpace


def load(name: str | Path, **settings: Any) -> SearchSpace:
    """Return the space with this name, or from this file. Settings default to the published or written values.

    Args:
        name: of an installed space, or a path that ends in .yaml, .yml or .py, relative to the working directory.

    Raises:
        UserError: if no installed package offers the space, the file describes no space, or a setting or its value is
            unknown.
    """
    name = str(name)
    if is_space_file(name):
        from search_spaces.user_space import SpaceFile

        return SpaceFile.read(name).space(**settings)
    installed = entry_points(group=ENTRY_POINT_GROUP, name=name)
    if not installed:
        raise UserError(f"No search space is called {name!r}; {nearest(name, names())}")
    family = next(iter(installed)).load()
    check_known_settings(settings, family, name)
    return cast("SearchSpace", family(**settings))


def from_specification(specification: Mapping[str, Any]) -> SearchSpace:
    """Return exactly the space that wrote `SearchSpace.specification()`, restriction included.

    Raises:
        UserError: as `load` and `SearchSpace.restrict`.
    """
    name, settings = specification["name"], specification["settings"]
    if "file" in specification:
        from search_spaces.user_space import SpaceFile

        file = specification["file"]
        space = SpaceFile(**file, shown=f"{name}{file['suffix']}").space(**settings)
    else:
        space = load(name, **settings)
    space = space.restrict(specification["restriction"])
    return space.only(space.architecture(specification["only"])) if "only" in specification else space
