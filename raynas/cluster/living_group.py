"""Groups of Ray processes that live on between the jobs of a run: training workers and search trials.

To start processes takes ten seconds and more, mostly for imports. So a group is started once, in a thread that
waits for its end. It takes its jobs from a queue in the run folder.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from raynas.storage.job_queue import JobQueue

if TYPE_CHECKING:
    from raynas.storage.run_folder import RunFolder

_CLOSE_SECONDS = 20.0


class GroupEnded(Exception):
    """The processes of a group ended before they finished a job."""


class LivingGroup:
    """One group of processes.

    Args:
        run_processes: starts the processes and returns when all have ended. It raises an error if they died too often.
        queue: the folder of the jobs.
        members: the number of processes that each finish every job.
    """

    def __init__(self, run_processes: Callable[[], object], queue: RunFolder, members: int = 1) -> None:
        self._queue, self._members = JobQueue(queue), members
        self._jobs = 0
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(run_processes,), daemon=True)
        self._thread.start()

    def _run(self, run_processes: Callable[[], object]) -> None:
        try:
            run_processes()
        except Exception as error:
            self._error = error

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def has_finished_jobs(self) -> bool:
        return self._queue.first_unfinished() > 0

    def carry_out(self, job: dict[str, Any], look: Callable[[], None]) -> None:
        """Carry out a job.

        Args:
            look: called again and again while the job runs.

        Raises:
            GroupEnded: from the error of the processes, if they ended first.
        """
        number, self._jobs = self._jobs, self._jobs + 1
        self._queue.put(number, job)
        while not all(self._queue.is_finished(number, member) for member in range(self._members)):
            if not self.is_alive:
                raise GroupEnded from self._error
            look()
            time.sleep(self._queue.poll_seconds)

    def close(self, at_once: bool = False) -> None:
        """End the processes: after their job, or at once."""
        self._queue.close(at_once)
        self._thread.join(_CLOSE_SECONDS)


class Successive:
    """The group that now carries out jobs of one kind. A group of other members, or a dead group, is replaced.

    Args:
        start: starts a group of some members.
    """

    def __init__(self, start: Callable[..., LivingGroup]) -> None:
        self._start = start
        self._group: LivingGroup | None = None
        self._members: tuple[Any, ...] = ()

    def prepare(self, *members: Any) -> None:
        """Start the group if it does not live. This returns before the processes are there."""
        if self._group is not None and (self._members != members or not self._group.is_alive):
            self.close()
        if self._group is None:
            self._group, self._members = self._start(*members), members

    def carry_out(self, job: dict[str, Any], look: Callable[[], None], *members: Any) -> None:
        """Carry out a job. If the processes end that served earlier jobs, a new group has the job once more.

        Raises:
            GroupEnded: if the processes of a new group end.
        """
        while True:
            self.prepare(*members)
            group = self._group
            assert group is not None
            try:
                group.carry_out(job, look)
                return
            except GroupEnded:
                self._group = None
                if not group.has_finished_jobs:
                    raise

    def close(self, at_once: bool = False) -> None:
        """End the group's processes, if there is a group."""
        if self._group is not None:
            self._group.close(at_once)
            self._group = None
