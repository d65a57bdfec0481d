"""Only data crosses a process border: settings go as an import path and plain JSON, and the receiver rebuilds them."""

from __future__ import annotations

import pkgutil
from abc import ABC
from typing import Any, Self

from pydantic import BaseModel, ConfigDict


class Crossing(BaseModel, ABC):
    """Settings that another process rebuilds by the import path of their class, which must be importable there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def reference(self) -> dict[str, Any]:
        """What `revive` rebuilds an equal object from, in any process that can import its class."""
        kind = type(self)
        return {"type": f"{kind.__module__}:{kind.__qualname__}", "settings": self.model_dump(mode="json")}

    @classmethod
    def revive(cls, given: dict[str, Any]) -> Self:
        """The object that `reference` described.

        Raises:
            TypeError: if the reference names something else than one of these.
        """
        value = pkgutil.resolve_name(given["type"])(**given["settings"])
        if not isinstance(value, cls):
            raise TypeError(f"{given['type']} is not a {cls.__name__}")
        return value
