"""One run at a time on a folder, and no ghosts: processes of a killed run live on for seconds and may still write.

The driver holds the folder's lock and numbers its attempt; every process that it starts notes itself in the folder. A
later attempt begins when all that the earlier one noted are gone.
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

from raynas.storage.run_folder import DamagedFile, RunFolder
from raynas.storage.step_records import records
from search_spaces.errors import UserError

_LOCK = "lock.json"
_KERNEL_LOCK = ".lock"
_PROCESSES = "processes"
_GHOST_SECONDS = 120


@contextmanager
def held(folder: RunFolder) -> Iterator[int]:
    """Hold the run folder; the value is the attempt's number, one more than the attempt before.

    Raises:
        UserError: if a living process holds the folder.
    """
    with _exclusive(folder):
        attempt = 1 + _attempts(folder)
        _wait_for_ghosts(folder)
        mine = {"attempt": attempt, **_myself()}
        folder.write_json(_LOCK, {**mine, "state": "held"})
        try:
            yield attempt
        finally:
            folder.write_json(_LOCK, {**mine, "state": "released"})


def _attempts(folder: RunFolder) -> int:
    """How many attempts there have been; of a damaged lock the steps tell it."""
    before = _read(folder)
    return int(before["attempt"]) if before else max((one.get("attempt", 0) for one in records(folder)), default=0)


@contextmanager
def _exclusive(folder: RunFolder) -> Iterator[None]:
    """One driver at a time: by the kernel's file lock on a local folder, else by what `lock.json` says."""
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
        f"{folder.uri} is held by {who}: wait for it to end, or give another folder with --out; "
        f"if it died with its machine, remove {_LOCK}."
    )


def holder(folder: RunFolder) -> dict[str, Any] | None:
    """Who holds the run folder now (`host`, `pid`, `attempt`), if anybody who lives does."""
    now = _read(folder)
    if now is None or now["state"] != "held":
        return None
    return now if now["host"] != socket.gethostname() or _lives(now) else None


class Superseded(RuntimeError):
    """A newer attempt has begun on the folder: what an older one has still to write would only be in its way."""


def note_process(folder: RunFolder, attempt: int) -> None:
    """Write down that this process may write into the folder.

    Raises:
        Superseded: if the folder has gone on to a newer attempt.
    """
    current = _read(folder)
    if current and current["attempt"] != attempt:
        raise Superseded(f"attempt {attempt} has been followed by attempt {current['attempt']}")
    myself = _myself()
    folder.write_json(f"{_PROCESSES}/{myself['host']}-{myself['pid']}.json", myself)


def _wait_for_ghosts(folder: RunFolder) -> None:
    deadline = time.monotonic() + _GHOST_SECONDS
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


def _myself() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid())}


def _lives(process: dict[str, Any]) -> bool:
    """Whether a noted process still runs; one of another host is taken to be gone with its cluster."""
    started = _started(process["pid"])
    return bool(process["host"] == socket.gethostname() and started is not None and started == process["started"])


def _started(pid: int) -> str | None:
    """When a process began, in the kernel's clock ticks, so that a reused number is not mistaken for it."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state == "Z" else rest[18]
