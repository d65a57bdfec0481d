"""Vital blocks: the decisions on every path through a network (HourNAS section 3.1)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

INPUT, OUTPUT = "input", "output"


class Link(NamedTuple):
    """An edge from one feature map to another. A choice decides it; if `choice` is None, it is always there.

    A shortcut is a link of its own, beside the block that it bypasses.
    """

    source: str
    target: str
    choice: int | None = None


def vital(links: Sequence[Link]) -> list[int]:
    """Return the choices on every path from `INPUT` to `OUTPUT`, in rising order."""
    choices = sorted({link.choice for link in links if link.choice is not None})
    return [choice for choice in choices if not _reaches_output(link for link in links if link.choice != choice)]


def _reaches_output(links: Iterable[Link]) -> bool:
    onward: dict[str, set[str]] = {}
    for link in links:
        onward.setdefault(link.source, set()).add(link.target)
    reached: set[str] = set()
    frontier: Collection[str] = {INPUT}
    while frontier:
        reached |= set(frontier)
        frontier = {target for source in frontier for target in onward.get(source, ())} - reached
    return OUTPUT in reached
