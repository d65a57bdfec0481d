"""Run a command in a process of its own, and measure its time by the clock."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]


def time_process(command: Sequence[str | Path]) -> float:
    """Run a command from the checkout, and return the seconds from the start of the process to its end.

    Raises:
        RuntimeError: if the command fails. The message holds the end of its output.
    """
    start = time.perf_counter()
    result = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if result.returncode:
        output = f"{result.stdout}\n{result.stderr}"[-2000:]
        raise RuntimeError(f"{' '.join(map(str, command))} failed with {result.returncode}:\n{output}")
    return seconds


def raynas_run(recipe: str, changes: Sequence[str], out: Path) -> list[str | Path]:
    """Return the command that runs a recipe with raynas."""
    return [Path(sys.executable).parent / "raynas", "run", recipe, "--out", out, "--quiet", *set_options(changes)]


def set_options(changes: Sequence[str]) -> list[str]:
    """Return the options `--set` of changes."""
    return [word for change in changes for word in ("--set", change)]
