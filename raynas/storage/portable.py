"""Settings that cross a process border as plain JSON. The receiver rebuilds them by a registered name."""

from __future__ import annotations

import re
from abc import ABC
from importlib import import_module
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict

_REGISTERED: dict[str, type[Portable]] = {}


class Reference(BaseModel):
    """A `Portable` object as plain JSON.

    Attributes:
        name: the registered name of its class.
        module: where a process that does not know the name finds the class. It decides no result.
        settings: the fields of the object.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    module: str
    settings: dict[str, Any]

    def identity(self) -> dict[str, Any]:
        """Return what decides results: a module may move, and an unfinished run still goes on."""
        return {"name": self.name, "settings": self.settings}


class Portable(BaseModel, ABC):
    """Settings that another process rebuilds. Every subclass is registered by its name in kebab case."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    registered_name: ClassVar[str]

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls.registered_name = _kebab_case(cls.__name__)
        known = _REGISTERED.setdefault(cls.registered_name, cls)
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(
                f"{known.__module__} and {cls.__module__} both define {cls.__name__}: a portable class needs a name "
                "of its own."
            )

    def reference(self) -> Reference:
        """Return the JSON form, from which `restore` rebuilds an equal object in any process."""
        settings = self.model_dump(mode="json")
        return Reference(name=self.registered_name, module=type(self).__module__, settings=settings)

    def identity(self) -> dict[str, Any]:
        """Return what decides results, as plain JSON."""
        return self.reference().identity()

    @classmethod
    def restore(cls, reference: Reference) -> Self:
        """Rebuild the object of a reference.

        Raises:
            TypeError: if the name is registered for a class of another kind, or for none.
        """
        if reference.name not in _REGISTERED:
            import_module(reference.module)
        kind = _REGISTERED.get(reference.name)
        if kind is None or not issubclass(kind, cls):
            raise TypeError(f"{reference.module} defines no {cls.__name__} by the name {reference.name!r}.")
        return kind.model_validate(reference.settings)


def _kebab_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name.strip("_")).lower()
