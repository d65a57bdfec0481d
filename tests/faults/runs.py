"""A recipe of one minute, the command that carries it out, the processes of its run, and the result to compare."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import yaml

import raynas
from tests.support.command import start_raynas

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
_TIMEOUT_SECONDS = 900
_ORPHAN_SECONDS = 90
_MARK = "RAYNAS_RUN_UNDER_TEST"
"""The environment variable that marks the processes of a command. Its value is the run folder."""
Condition = Callable[[Path], bool]
"""Whether a run folder shows that the moment of a fault has come."""


@dataclass
class Command:
    """`raynas run` of a recipe in a run folder. A test can start it several times."""

    recipe: Path
    out: Path
    changes: list[str] = field(default_factory=list)

    def start(self) -> subprocess.Popen[str]:
        arguments = ["run", str(self.recipe), "--out", str(self.out)]
        arguments += [part for change in self.changes for part in ("--set", change)]
        environment = {**os.environ, _MARK: str(self.out)}
        return start_raynas(self.out.parent, *arguments, "--quiet", environment=environment)

    def finish(self) -> None:
        """Run the command to its end."""
        process = self.start()
        with ended(process):
            output = process.communicate(timeout=_TIMEOUT_SECONDS)
        assert process.returncode == 0, output

    def kill_when(self, condition: Condition) -> None:
        """Start the command. Once the run folder meets the condition, kill the driver alone with SIGKILL."""
        process = self.start()
        with ended(process):
            wait_until(lambda: condition(self.out), process)
            process.kill()
            process.wait()

    def wait_for_processes(self) -> None:
        """Wait until all processes of the run have ended, so that none of them writes any more."""
        deadline = time.monotonic() + _ORPHAN_SECONDS
        while remaining := run_processes(self.out):
            assert time.monotonic() < deadline, remaining
            time.sleep(0.1)


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[None]:
    """End a command and its Ray after the body of the `with` statement, whether the test passes or fails."""
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


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until a condition holds while a process runs."""
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while not condition():
        assert process.poll() is None, f"the process ended before the condition held: {process.communicate()}"
        assert time.monotonic() < deadline, f"the condition did not hold within {_TIMEOUT_SECONDS} s"
        time.sleep(0.02)


def run_processes(out: Path) -> list[int]:
    """Return the living processes of a run: the processes of its command, and the processes of its notes."""
    return [*command_processes(out), *noted_processes(out)]


def noted_processes(out: Path) -> list[int]:
    """Return the living processes of the notes in a run folder."""
    noted = [int(note.stem.rpartition("-")[2]) for note in (out / "processes").glob("*.json")]
    return [pid for pid in noted if read_proc(pid, "cmdline")]


def command_processes(out: Path, title: str = "") -> list[int]:
    """Return the living processes of a command with this run folder, with the command itself.

    Ray's workers overwrite their environment. They are recognised as children of the raylet.

    Args:
        title: a part of the titles of the processes.
    """
    mark = f"{_MARK}={out} "
    pids = set(living_processes())
    marked = {pid for pid in pids if mark in read_proc(pid, "environ")}
    children = {pid for pid in pids if parent_process(pid) in marked}
    titles = {pid: read_proc(pid, "cmdline") for pid in marked | children}
    return [pid for pid, words in titles.items() if words and title in words]


def unmapped_shared_memory() -> set[str]:
    """Return the named segments of shared memory that no living process has mapped."""
    mapped = " ".join(read_proc(pid, "maps") for pid in living_processes())
    return {entry.name for entry in Path("/dev/shm").iterdir() if f"/dev/shm/{entry.name}" not in mapped}


def living_processes() -> list[int]:
    """Return the numbers of all living processes of this machine."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def parent_process(pid: int) -> int:
    """Return the number of a process's parent; 0 if the process has ended."""
    status = read_proc(pid, "stat")
    return int(status.rpartition(")")[2].split()[1]) if status else 0


def kill_living(pids: Iterable[int]) -> None:
    """Kill processes. Ray may have ended some of them already."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def read_proc(pid: int, file: str) -> str:
    """Return a file of a process in `/proc`, with spaces for zeros; empty if the process has ended."""
    try:
        return Path(f"/proc/{pid}/{file}").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def write_recipe(folder: Path) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    return path


@dataclass(frozen=True)
class Result:
    """The result of a run. A fault must not change it."""

    table: pd.DataFrame
    front: str
    best: str

    @classmethod
    def read(cls, out: Path) -> Result:
        table = raynas.load(out).table.drop(columns="seconds")
        return cls(table, (out / "front.csv").read_text(), (out / "best.json").read_text())

    def equals(self, other: Result) -> bool:
        try:
            self.assert_equal(other)
        except AssertionError:
            return False
        return True

    def assert_equal(self, other: Result) -> None:
        pd.testing.assert_frame_equal(self.table, other.table, check_exact=True)
        assert self.front == other.front
        assert self.best == other.best
