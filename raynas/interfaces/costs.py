"""The costs of a space, with latency where the run has a latency table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search_spaces.latency_table import LatencyKey

if TYPE_CHECKING:
    from search_spaces import Costs, SearchSpace

LatencyEntries = tuple[tuple[LatencyKey, float], ...]
"""The entries of a latency table as plain JSON: the shape of a block, and its latency in milliseconds."""


def costs_of(space: SearchSpace, latency: LatencyEntries | None) -> Costs:
    """Return the costs of a space; with `latency_ms` if the run has the entries of a table."""
    from search_spaces.latency_table import LatencyTable

    if latency is None:
        return space.costs()
    return space.costs(latency=LatencyTable(dict(latency), "The run's latency table"))
