"""A recipe of a minute, the command that carries it out, the processes that it starts, and what it comes to."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import yaml

import raynas

RECIPE = {
    "method": {
        "name": "pad-nas",
        "stages": 3,
        "epochs": [5, 4],
        "learning_rates": [0.01, 0.005],
        "prune_below": 0.1,
    },
    "space": {"name": "nas-bench-macro", "width": 0.125, "resolution": 16},
    "data": {"name": "digits", "classes": 5, "validation": 0.2},
    "budget": {"macs": {"max": "400k"}},
    "training": {"batch_size": 16, "optimizer": "rmsprop"},
    "search": {"population": 10, "generations": 5},
    "evaluation": {"recalibration_images": 64, "recalibration_batch_size": 32},
}
_SECONDS = 900
_GONE_SECONDS = 90
_MARK = "RAYNAS_RUN_UNDER_TEST"


@dataclass
class Command:
    """`raynas run` of the recipe in a folder, as often as it takes."""

    recipe: Path
    out: Path
    changes: list[str] = field(default_factory=list)

    def start(self) -> subprocess.Popen[str]:
        arguments = [str(Path(sys.executable).parent / "raynas"), "run", str(self.recipe), "--out", str(self.out)]
        arguments += [part for change in self.changes for part in ("--set", change)]
        return subprocess.Popen(
            [*arguments, "--quiet"],
            cwd=self.out.parent,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, _MARK: str(self.out)},
        )

    def finish(self) -> None:
        """Run it to its end."""
        with self.beside():
            pass

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Run it to its end, while something else is done."""
        process = self.start()
        with reaped(process):
            yield
            said = process.communicate(timeout=_SECONDS)
        assert process.returncode == 0, said

    def kill_when(self, moment: Callable[[Path], bool]) -> None:
        """Start it, and kill -9 the driver, and nothing else, once the run folder shows the moment."""
        process = self.start()
        with reaped(process):
            wait_until(lambda: moment(self.out), process)
            process.kill()
            process.wait()

    def wait_until_gone(self) -> None:
        """Until nothing that it has started lives on, and may yet write."""
        deadline = time.monotonic() + _GONE_SECONDS
        while left := [*marked(self.out), *living(self.out)]:
            assert time.monotonic() < deadline, left
            time.sleep(0.1)


@contextmanager
def reaped(process: subprocess.Popen[str]) -> Iterator[None]:
    """Whatever becomes of the test, the command and the Ray that it started end."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def wait_until(moment: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + _SECONDS
    while not moment():
        assert process.poll() is None, f"it ended before the moment came: {process.communicate()}"
        assert time.monotonic() < deadline, "the moment never came"
        time.sleep(0.02)


def living(out: Path, title: str = "") -> list[int]:
    """The numbers of the living processes that the run has noted in its folder and whose title holds these words."""
    noted = [int(note.stem.rpartition("-")[2]) for note in (out / "processes").glob("*.json")]
    return [number for number in noted if title in told(number, "cmdline") and told(number, "cmdline")]


def marked(out: Path, words: str = "") -> list[int]:
    """The numbers of the living processes that a command with this run folder has started, itself among them.

    Ray's workers write over their environment; they are known by the raylet that they are children of.
    """
    mark = f"{_MARK}={out} "
    numbers = {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()}
    own = {number for number in numbers if mark in told(number, "environ")}
    children = {number for number in numbers if parent(number) in own}
    return [number for number in own | children if words in told(number, "cmdline") and told(number, "cmdline")]


def shared_memory() -> set[str]:
    """The segments of shared memory that have a name, and that no living process has mapped."""
    mapped = " ".join(told(int(entry.name), "maps") for entry in Path("/proc").iterdir() if entry.name.isdecimal())
    return {entry.name for entry in Path("/dev/shm").iterdir() if f"/dev/shm/{entry.name}" not in mapped}


def parent(number: int) -> int:
    return int(told(number, "stat").rpartition(")")[2].split()[1]) if told(number, "stat") else 0


def told(number: int, file: str) -> str:
    """What the kernel tells of a process; nothing of one that has ended."""
    try:
        return Path(f"/proc/{number}/{file}").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def write_recipe(folder: Path) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    return path


@dataclass(frozen=True)
class Result:
    """What must be equal between a run and the same run after any fault."""

    table: pd.DataFrame
    front: str
    best: str

    @classmethod
    def of(cls, out: Path) -> Result:
        table = raynas.load(out).table.drop(columns="seconds")
        return cls(table, (out / "front.csv").read_text(), (out / "best.json").read_text())

    def equals(self, other: Result) -> bool:
        try:
            self.must_equal(other)
        except AssertionError:
            return False
        return True

    def must_equal(self, other: Result) -> None:
        pd.testing.assert_frame_equal(self.table, other.table, check_exact=True)
        assert self.front == other.front
        assert self.best == other.best
