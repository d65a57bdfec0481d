"""The names of the installed search spaces."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from typing import Any

from search_spaces.errors import UserError, nearest

ENTRY_POINT_GROUP = "raynas.spaces"
_SUFFIXES = (".yaml", ".yml", ".py")


def names() -> list[str]:
    """Return the names of all installed spaces, in alphabetical order."""
    return sorted(entry_points(group=ENTRY_POINT_GROUP).names)


def is_space_file(name: str) -> bool:
    """Return whether this is the path of a user's space, and not the name of an installed space."""
    return name.endswith(_SUFFIXES)


def check_known_settings(settings: Iterable[str], family: Callable[..., Any], name: str) -> None:
    """Raise UserError if a setting is none of the family's."""
    parameters = inspect.signature(family).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        for setting in settings:
            if setting not in parameters:
                raise UserError(f"{name} has no setting {setting!r}; {nearest(setting, parameters)}")
