"""A finished run with stand-alone networks, which several tests read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def standalone_run(finished_run: Callable[[str], Path]) -> Path:
    """The folder of a run on the digits. Three of its networks were trained stand-alone. No test may change it."""
    return finished_run("spos")
