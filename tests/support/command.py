"""Run the command `raynas` in a process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_RAYNAS = str(Path(sys.executable).parent / "raynas")


def run_raynas(
    folder: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `raynas` in a working directory, and return its status and output.

    Args:
        environment: the environment variables; None for those of this process.
    """
    return subprocess.run(
        [_RAYNAS, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def start_raynas(folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start `raynas` in a working directory, with pipes for its output."""
    return subprocess.Popen(
        [_RAYNAS, *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
