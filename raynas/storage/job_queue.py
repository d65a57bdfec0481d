"""Jobs for processes that live on: a driver writes them one after the other, and the processes take them in order.

The queue is a folder, so a process that is started anew finds its first unfinished job again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raynas.storage.run_folder import RunFolder

_CLOSED = "closed.json"
_LOCAL_SECONDS, _REMOTE_SECONDS = 0.03, 0.5
"""The time between two looks at the folder. Each look at an object store is a request."""


class JobQueue:
    """A folder of jobs, counted from 0. A member is one of the processes that each finish every job."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self.poll_seconds = _LOCAL_SECONDS if folder.is_local else _REMOTE_SECONDS

    def put(self, number: int, job: Mapping[str, Any]) -> None:
        """Write a job, which is plain JSON."""
        self._folder.write_json(f"{number}.json", job)

    def close(self, at_once: bool = False) -> None:
        """Let the processes end: after the job that they have in hand, or at once."""
        self._folder.write_json(_CLOSED, {"at_once": at_once})

    def is_closed(self) -> bool:
        return self._folder.exists(_CLOSED)

    def must_end_at_once(self) -> bool:
        return self.is_closed() and bool(self._folder.read_json(_CLOSED)["at_once"])

    def wait(self, number: int) -> dict[str, Any] | None:
        """Wait for a job and return it; None if the queue was closed before it was put, or must end at once."""
        while not self._folder.exists(f"{number}.json"):
            if self.is_closed():
                return None
            time.sleep(self.poll_seconds)
        return None if self.must_end_at_once() else self._folder.read_json(f"{number}.json")

    def finish(self, number: int, member: int = 0) -> None:
        """Write that a member has finished a job."""
        self._folder.write_json(f"{number}-finished-by-{member}.json", {})

    def is_finished(self, number: int, member: int = 0) -> bool:
        return self._folder.exists(f"{number}-finished-by-{member}.json")

    def first_unfinished(self, member: int = 0) -> int:
        """Return the number of the first job that a member has not finished."""
        return next(number for number in count() if not self.is_finished(number, member))
