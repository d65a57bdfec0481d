"""Skip a test that needs something which pip cannot install. In CI the test fails instead."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def absent(needed: str) -> NoReturn:
    """Skip or fail the calling test, with the reason."""
    (pytest.fail if "CI" in os.environ else pytest.skip)(f"needs {needed}")
