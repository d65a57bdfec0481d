"""Packages whose names are imported at first use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module


def import_lazily(package: str, modules: Mapping[str, str]) -> Callable[[str], object]:
    """Return a package's `__getattr__`, which imports the module of a name when the name is first used.

    Args:
        package: the package's `__name__`.
        modules: for each name the module that defines the name.
    """

    def get_name(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(modules[name]), name)

    return get_name
