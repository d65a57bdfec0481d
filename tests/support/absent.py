"""What a test needs and pip cannot install: in CI it has to be there, elsewhere the test is skipped without it."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def absent(needed: str) -> NoReturn:
    """End the test that calls this, with what it needs."""
    (pytest.fail if "CI" in os.environ else pytest.skip)(f"needs {needed}")
