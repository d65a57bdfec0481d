"""raynas: one-shot neural architecture search under a budget, on Ray.

outcome = raynas.run("pad-nas-digits", out="runs/digits")
outcome.front                               # pandas: the Pareto front
raynas.load("runs/digits").best             # the same, read back
"""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

from search_spaces.lazy_imports import import_lazily

if TYPE_CHECKING:
    from raynas.networks.trained_network import build
    from raynas.results.outcome import Outcome, load
    from raynas.study.run import run
    from search_spaces.errors import UserError

__version__ = metadata.version("raynas")
__all__ = ["Outcome", "UserError", "build", "load", "run"]

__getattr__ = import_lazily(
    __name__,
    {
        "Outcome": "raynas.results.outcome",
        "UserError": "search_spaces.errors",
        "build": "raynas.networks.trained_network",
        "load": "raynas.results.outcome",
        "run": "raynas.study.run",
    },
)
