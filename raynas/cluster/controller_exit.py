"""Exit the controller process of a training at once: when it is done, before Ray can deadlock, or when it must stop."""

from __future__ import annotations

import atexit
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import ray
from ray.train.v2._internal.execution.callback import ControllerCallback

from raynas.storage.job_queue import JobQueue
from raynas.storage.run_folder import RunFolder

if TYPE_CHECKING:
    from ray.actor import ActorHandle
    from ray.train.v2._internal.execution.context import TrainRunContext

_LOOK_SECONDS = 0.5
_KILL_SECONDS = 10


class ImmediateExit(ControllerCallback):
    """Exit the controller process with Python, before Ray's own teardown, which can deadlock.

    At this point Ray has already shut down its worker. It would then destroy its globals. In this teardown about one
    controller in twenty waited forever for a lock that it held itself. Such a process keeps half a gigabyte of memory
    after Ray has ended.

    The process also exits if the queue of the workers' jobs is closed at once. Ray ends the workers with it.
    """

    def __init__(self, queue: str) -> None:
        self._queue = queue

    def after_controller_start(self, train_run_context: TrainRunContext) -> None:
        atexit.register(os._exit, 0)
        own = ray.get_runtime_context().current_actor if ray.is_initialized() else None
        threading.Thread(target=self._exit_with_the_queue, args=[own], daemon=True).start()

    def _exit_with_the_queue(self, own: ActorHandle[Any] | None) -> None:
        queue = JobQueue(RunFolder(self._queue))
        while not queue.must_end_at_once():
            time.sleep(_LOOK_SECONDS)
        if own is not None:
            ray.kill(own)  # a process that exits by itself counts as crashed, and Ray tells the user so
            time.sleep(_KILL_SECONDS)
        os._exit(0)
