"""Which decisions no path through a network avoids (HourNAS section 3.1)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

INPUT, OUTPUT = "input", "output"


class Link(NamedTuple):
    """A way from one feature map to another: what a choice decides, or, where `choice` is None, what is always there.

    A shortcut is a link of its own beside the block that it passes by.
    """

    source: str
    target: str
    choice: int | None = None


def vital(links: Sequence[Link]) -> list[int]:
    """The choices that every path from `INPUT` to `OUTPUT` runs through, in rising order."""
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
