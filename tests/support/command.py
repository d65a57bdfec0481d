"""Run the command `raynas` in a process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

RAYNAS = str(Path(sys.executable).parent / "raynas")


def run_raynas(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `raynas` in a working directory and return its status and output."""
    return subprocess.run([RAYNAS, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=400)
