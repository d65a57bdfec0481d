"""Spaces by name, found through the entry-point group `raynas.spaces`, so that any package can add one."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, cast

from search_spaces.errors import UserError, nearest

if TYPE_CHECKING:
    from search_spaces.space import SearchSpace

GROUP = "raynas.spaces"


def names() -> list[str]:
    """The names of all spaces that are installed, in alphabetical order."""
    return sorted(entry_points(group=GROUP).names)


def load(name: str, **settings: Any) -> SearchSpace:
    """The space of this name with these settings; a setting that is not given has the family's published value.

    Raises:
        UserError: if no installed package offers the space, or the space does not know a setting or its value.
    """
    found = entry_points(group=GROUP, name=name)
    if not found:
        raise UserError(f"No search space is called {name!r}; {nearest(name, names())}")
    family = next(iter(found)).load()
    parameters = inspect.signature(family).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        for setting in settings:
            if setting not in parameters:
                raise UserError(f"{name} has no setting {setting!r}; {nearest(setting, parameters)}")
    return cast("SearchSpace", family(**settings))


def from_specification(specification: Mapping[str, Any]) -> SearchSpace:
    """The very space that wrote `SearchSpace.specification()`, restriction included.

    Raises:
        UserError: as `load` and `SearchSpace.restrict`.
    """
    space = load(specification["name"], **specification["settings"])
    space = space.restrict(specification["restriction"])
    return space.only(space.architecture(specification["only"])) if "only" in specification else space
