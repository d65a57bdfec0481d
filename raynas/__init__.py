"""raynas: one-shot neural architecture search under a budget, on Ray.

outcome = raynas.run("pad-nas-digits", out="runs/digits")
outcome.front                               # the Pareto front, a pandas DataFrame
raynas.load("runs/digits").best             # the best network, read from the run folder
"""

from __future__ import annotations

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raynas.networks.trained_network import build
    from raynas.results.outcome import Outcome, load
    from raynas.study.run import run
    from search_spaces.errors import UserError

__version__ = metadata.version("raynas")
__all__ = ["Outcome", "UserError", "build", "load", "run"]

_MODULES = {
    "Outcome": "raynas.results.outcome",
    "UserError": "search_spaces.errors",
    "build": "raynas.networks.trained_network",
    "load": "raynas.results.outcome",
    "run": "raynas.study.run",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'raynas' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
