"""The difference of two JSON objects, field by field."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any


def difference(
    before: Mapping[str, Any], now: Mapping[str, Any], ignoring: Collection[str] = (), under: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Yield each field that differs: its path, its value before and its value now.

    Args:
        ignoring: the paths to leave out, such as `scale.max_failures`.
        under: the path of the two objects, with a dot at its end.
    """
    for key in sorted({*before, *now}):
        path = f"{under}{key}"
        old, new = before.get(key), now.get(key)
        if path in ignoring or old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from difference(old, new, ignoring, f"{path}.")
        else:
            yield path, old, new
