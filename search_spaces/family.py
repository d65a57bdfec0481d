"""Families of search spaces: the settings that a paper prints; a caller may change some."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel

from search_spaces.errors import UserError
from search_spaces.validation import validate_settings

Settings = TypeVar("Settings", bound=BaseModel)


@dataclass(frozen=True, kw_only=True)
class Family:
    """A search space as its paper prints it. A subclass adds the table's rows; a call of it builds the space."""

    name: str
    paper: str = ""
    stem_stride: int
    resolution: int
    num_classes: int

    def complete_settings(
        self,
        model: type[Settings],
        changes: Mapping[str, Any],
        rows: Mapping[str, list[int]] | None = None,
        noun: str = "rows",
    ) -> Settings:
        """Return the published settings with a caller's changes.

        Args:
            changes: the caller's value of every setting. None keeps the published value, which is the family's field.
            rows: the published values of the settings with one number for each row of the table.
            noun: how error messages call the rows: `stages` or `rows`.

        Raises:
            UserError: if a value is out of its range, or a list has not one number for each row.
        """
        rows = rows or {}
        settings = validate_settings(model, {name: self._value(name, changes, rows) for name in changes}, self.name)
        for name, numbers in rows.items():
            count = len(getattr(settings, name))
            if count != len(numbers):
                raise UserError(f"{self.name} has {len(numbers)} {noun}; {name} gives {count} numbers.")
        return settings

    def _value(self, name: str, changes: Mapping[str, Any], rows: Mapping[str, list[int]]) -> Any:
        if changes[name] is not None:
            return changes[name]
        return rows[name] if name in rows else getattr(self, name)
