"""Spaces by name, found through the entry-point group `raynas.spaces`, so that any package can add one.

A user's own space is known by the path of its file.
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
    """The space of this name, or in this file, with these settings; what is not given is as published, or as written.

    Args:
        name: of an installed space, or a path that ends in .yaml, .yml or .py, relative to the working directory.

    Raises:
        UserError: if no installed package offers the space, the file describes none, or the space does not know a
            setting or its value.
    """
    name = str(name)
    if is_space_file(name):
        from search_spaces.user_space import SpaceFile

        return SpaceFile.read(name).space(**settings)
    found = entry_points(group=ENTRY_POINT_GROUP, name=name)
    if not found:
        raise UserError(f"No search space is called {name!r}; {nearest(name, names())}")
    family = next(iter(found)).load()
    check_known_settings(settings, family, name)
    return cast("SearchSpace", family(**settings))


def from_specification(specification: Mapping[str, Any]) -> SearchSpace:
    """The very space that wrote `SearchSpace.specification()`, restriction included.

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
