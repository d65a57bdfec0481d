"""A portable class in a module that no test imports before the class is restored."""

from __future__ import annotations

from raynas.storage.portable import Portable


class ImportedLate(Portable):
    """An object of a process that has imported this module."""

    number: int
