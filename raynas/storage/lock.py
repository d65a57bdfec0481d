"""The lock of a run folder: one run at a time, and no writes of a killed run's processes, which may live for seconds.

The driver holds the lock and numbers its attempt. Every process that it starts writes a note into the folder. A later
attempt begins once all processes of the notes have ended.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from raynas.storage.leftovers import delete_leftovers
from raynas.storage.run_folder import DamagedFile, RunFolder
from raynas.storage.step_records import records
from search_spaces.errors import UserError

_LOCK = "lock.json"
_KERNEL_LOCK = ".lock"
_PROCESSES = "processes"
_WAIT_SECONDS = 120


@contextmanager
def hold(folder: RunFolder) -> Iterator[int]:
    """Hold the lock of a run folder. Yields the attempt's number, one more than the attempt before.

    Unfinished files that killed processes have left are deleted.

    Raises:
        UserError: if a living process holds the lock.
    """
    with _exclusive(folder):
        attempt = 1 + _attempts(folder)
        _wait_for_earlier_processes(folder)
        if folder.is_local:
            delete_leftovers(folder.uri)
        holder = {"attempt": attempt, **_this_process()}
        folder.write_json(_LOCK, {**holder, "state": "held"})
        try:
            yield attempt
        finally:
            folder.write_json(_LOCK, {**holder, "state": "released"})


def _attempts(folder: RunFolder) -> int:
    """Return the number of attempts so far: from the lock, or from the step records if the lock is damaged."""
    before = _read(folder)
    return (
        int(before["attempt"]) if before else max((record.get("attempt", 0) for record in records(folder)), default=0)
    )


@contextmanager
def _exclusive(folder: RunFolder) -> Iterator[None]:
    """Admit one driver at a time: by the kernel's file lock on a local folder, otherwise by `lock.json`."""
    if not folder.is_local:
        before = _read(folder)
        if before and before["state"] == "held" and (before["host"] != socket.gethostname() or _lives(before)):
            raise _refusal(folder, before)
        yield
        return
    with ExitStack() as stack:
        try:
            os.makedirs(folder.uri, exist_ok=True)
            file = stack.enter_context(open(os.path.join(folder.uri, _KERNEL_LOCK), "w"))
        except OSError as error:
            raise UserError(
                f"{folder.uri} cannot be a run folder: {error.strerror}; give another with --out."
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _refusal(folder, _read(folder)) from None
        yield


def _refusal(folder: RunFolder, holder: dict[str, Any] | None) -> UserError:
    who = f"process {holder['pid']} on {holder['host']}" if holder else "another process"
    return UserError(
        f"{folder.uri} is in use by {who}: wait for it to end, or give another folder with --out. "
        f"If it died with its machine, remove {_LOCK}."
    )


def holder(folder: RunFolder) -> dict[str, Any] | None:
    """Return the living holder of the lock (`host`, `pid`, `attempt`), or None."""
    now = _read(folder)
    if now is None or now["state"] != "held":
        return None
    return now if now["host"] != socket.gethostname() or _lives(now) else None


class Superseded(RuntimeError):
    """A newer attempt has begun on the folder: this process must not write any more."""


def note_process(folder: RunFolder, attempt: int) -> None:
    """Write a note that this process may write into the folder.

    Raises:
        Superseded: if a newer attempt has begun.
    """
    current = _read(folder)
    if current and current["attempt"] != attempt:
        raise Superseded(f"attempt {attempt} has been followed by attempt {current['attempt']}")
    process = _this_process()
    folder.write_json(f"{_PROCESSES}/{process['host']}-{process['pid']}.json", process)


def _wait_for_earlier_processes(folder: RunFolder) -> None:
    deadline = time.monotonic() + _WAIT_SECONDS
    for name in folder.names(_PROCESSES):
        process = _read(folder, f"{_PROCESSES}/{name}")
        while process and _lives(process):
            if time.monotonic() > deadline:
                raise UserError(
                    f"Process {process['pid']} of an earlier attempt on {folder.uri} still runs on {process['host']}: "
                    "end it first."
                )
            time.sleep(0.2)
        folder.delete(f"{_PROCESSES}/{name}")


def _read(folder: RunFolder, name: str = _LOCK) -> dict[str, Any] | None:
    try:
        return folder.read_json(name)
    except (FileNotFoundError, DamagedFile):
        return None


def _this_process() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid())}


def _lives(process: dict[str, Any]) -> bool:
    """Return whether a process still runs. A process of another host counts as gone with its cluster."""
    started = _started(process["pid"])
    return bool(process["host"] == socket.gethostname() and started is not None and started == process["started"])


def _started(pid: int) -> str | None:
    """Return when a process began, in the kernel's clock ticks: a reused process number has another start."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state == "Z" else rest[18]
