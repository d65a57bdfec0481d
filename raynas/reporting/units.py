"""The units in which people read the costs of a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class CostUnit(NamedTuple):
    """The unit of a cost.

    Attributes:
        name: for columns and sentences: `M multiply-adds`.
        axis: for the axis of a figure.
        scale: a stored cost times `scale` is the cost in this unit.
    """

    name: str
    axis: str
    scale: float


COST_UNITS = {
    "macs": CostUnit("M multiply-adds", "multiply-adds in millions", 1e-6),
    "params": CostUnit("M parameters", "parameters in millions", 1e-6),
    "latency_ms": CostUnit("ms", "latency in ms", 1.0),
}


def format_cost(key: str, cost: float) -> str:
    """Return one cost with its unit, such as `3.108 M multiply-adds`."""
    unit = COST_UNITS[key]
    return f"{cost * unit.scale:.3f} {unit.name}"


def format_costs(network: Mapping[Any, Any]) -> str:
    """Return the multiply-adds, the parameters and, if it is known, the latency of a network.

    Args:
        network: has `macs`, `params` and `latency_ms`, which is None or not a number if it is unknown.
    """
    known = [key for key in COST_UNITS if network.get(key) is not None and network[key] == network[key]]
    return ", ".join(format_cost(key, network[key]) for key in known)


def format_range(key: str, low: float, high: float) -> str:
    """Return the least and the greatest cost in the unit of that cost, without the unit."""
    scale = COST_UNITS[key].scale
    return f"{low * scale:.2f} - {high * scale:.2f}"
