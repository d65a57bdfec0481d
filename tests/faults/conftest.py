"""What the tests that kill things share: commands that leave nothing behind, and what an undisturbed run finds."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.runs import Command, Result, living, marked, told, write_recipe


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Callable[..., Command]]:
    """Makes commands, of a recipe that ships or of that of the tests; in the end nothing that they started lives on."""

    def make(name: str, *changes: str, recipe: str | None = None) -> Command:
        return Command(Path(recipe) if recipe else write_recipe(tmp_path), tmp_path / name, list(changes))

    def left() -> dict[int, str]:
        found = [number for out in tmp_path.iterdir() for number in (*marked(out), *living(out))]
        return {number: told(number, "cmdline")[:80] for number in found}

    yield make
    deadline = time.monotonic() + 90
    while remaining := left():
        if time.monotonic() > deadline:
            for number in remaining:
                os.kill(number, signal.SIGKILL)
            pytest.fail(f"these were left behind: {remaining}")
        time.sleep(0.2)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """The result of the recipe when nothing happens to it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    Command(write_recipe(folder), folder / "run").finish()
    return Result.of(folder / "run")
