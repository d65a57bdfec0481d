"""Only data crosses a process border: settings go as an import path and plain JSON, and the receiver rebuilds them."""

from __future__ import annotations

import pkgutil
from typing import Any, TypeVar

from pydantic import BaseModel

T = TypeVar("T")


def reference(settings: BaseModel) -> dict[str, Any]:
    """What `revive` rebuilds an equal object from, in any process that can import its class."""
    kind = type(settings)
    return {"type": f"{kind.__module__}:{kind.__qualname__}", "settings": settings.model_dump(mode="json")}


def revive(given: dict[str, Any], kind: type[T]) -> T:
    """The object that `reference` described.

    Raises:
        TypeError: if the reference names something else than a `kind`.
    """
    value = pkgutil.resolve_name(given["type"])(**given["settings"])
    if not isinstance(value, kind):
        raise TypeError(f"{given['type']} is not a {kind.__name__}")
    return value
