"""Fixtures of the fault tests: commands that leave no process behind, and the result of an undisturbed run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.runs import Command, Result, kill_living, read_proc, run_processes, write_recipe

_ORPHAN_SECONDS = 90


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Callable[..., Command]]:
    """A function that makes commands, of a shipped recipe or of the tests' recipe. No process outlives the test."""

    def make(name: str, *changes: str, recipe: str | None = None) -> Command:
        return Command(Path(recipe) if recipe else write_recipe(tmp_path), tmp_path / name, list(changes))

    def living() -> dict[int, str]:
        pids = [pid for out in tmp_path.iterdir() for pid in run_processes(out)]
        return {pid: read_proc(pid, "cmdline")[:80] for pid in pids}

    yield make
    deadline = time.monotonic() + _ORPHAN_SECONDS
    while remaining := living():
        if time.monotonic() > deadline:
            kill_living(remaining)
            pytest.fail(f"these processes outlived the test: {remaining}")
        time.sleep(0.2)


@pytest.fixture(scope="session")
def undisturbed(finished_run: Callable[[str], Path]) -> Result:
    """The result of the tests' recipe without any fault."""
    return Result.read(finished_run("pad-nas"))
