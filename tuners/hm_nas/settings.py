"""The settings of HM-NAS's masks. They need no torch."""

from typing import Literal

Level = Literal["operations", "edges", "weights"]
LEVELS: tuple[Level, ...] = ("operations", "edges", "weights")
