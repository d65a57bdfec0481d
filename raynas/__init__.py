"""raynas: one-shot neural architecture search under a budget, on Ray.

outcome = raynas.run("pad-nas-digits", out="runs/digits")
outcome.front                               # pandas: the Pareto front
raynas.load("runs/digits").best             # the same, read back
"""

from __future__ import annotations

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raynas.results import Outcome, load
    from raynas.running import run
    from raynas.trained import build
    from search_spaces.errors import UserError

__version__ = metadata.version("raynas")
__all__ = ["Outcome", "UserError", "build", "load", "run"]

_HOMES = {
    "Outcome": "raynas.results",
    "UserError": "search_spaces.errors",
    "build": "raynas.trained",
    "load": "raynas.results",
    "run": "raynas.running",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'raynas' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
