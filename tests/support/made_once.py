"""Make a folder once for all processes of a test session."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def session_folder(factory: pytest.TempPathFactory) -> Path:
    """Return the folder that all processes of a test session share."""
    own = factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def make_once(folder: Path, make: Callable[[Path], object]) -> Path:
    """Make a folder unless a process of the session has made it, and return it. No test may change it.

    Other processes that need the folder wait. If `make` fails, the next process starts again with an empty folder.
    """
    finished = folder.with_name(f"{folder.name}.finished")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            finished.touch()
    return folder
