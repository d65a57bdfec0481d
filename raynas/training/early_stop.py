"""Early stopping of trainings inside the trials of a sweep.

Ray 2.60 does not give back the resources of a Ray Train job in a trial that is stopped from outside. So the scheduler
lets every trial go on, and writes its decision about each epoch into a named actor. The training reads the decision at
the end of the epoch, and ends by itself. A decision follows from the epoch's row alone, so a retry gets the same one.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from pydantic import BaseModel, ConfigDict

from raynas.runtime.process import NAMESPACE
from raynas.storage.portable import Portable

_POLL_SECONDS, _TIMEOUT_SECONDS = 0.1, 300.0


class EarlyStop(Portable):
    """The rule of a sweep: whether a training may stop after an epoch."""

    @abstractmethod
    def may_stop(self, row: dict[str, Any]) -> bool:
        """Return whether a training may stop with the epoch that it reports in this row."""


class EarlyStopClient(BaseModel):
    """Where a training inside a trial finds the decisions about it.

    Attributes:
        actor: the name of the actor that holds the decisions.
        trial: the trial's number.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    actor: str
    trial: int

    def should_stop(self, step: str, epoch: int) -> bool:
        """Wait for the decision about an epoch that was reported, and return it.

        Raises:
            TimeoutError: if the decision does not come, for instance because its actor died. Report the epoch again.
        """
        import ray

        decisions = ray.get_actor(self.actor, NAMESPACE)
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            decision = cast("bool | None", ray.get(decisions.read.remote(self.trial, step, epoch)))
            if decision is not None:
                return decision
            time.sleep(_POLL_SECONDS)
        raise TimeoutError(f"There is no decision about epoch {epoch} of {step} in trial {self.trial}.")


class EarlyStopDecisions:
    """The actor that holds the decisions, one for each epoch of each training of each trial."""

    def __init__(self) -> None:
        self._decisions: dict[tuple[int, str, int], bool] = {}

    def write(self, trial: int, step: str, epoch: int, stop: bool) -> None:
        self._decisions[trial, step, epoch] = stop

    def read(self, trial: int, step: str, epoch: int) -> bool | None:
        return self._decisions.get((trial, step, epoch))


@contextmanager
def start_decisions(name: str) -> Iterator[None]:
    """Keep the actor of one sweep alive. Every process of the run finds it by its name."""
    import ray

    remote: Any = ray.remote(EarlyStopDecisions)
    actor = remote.options(name=name, namespace=NAMESPACE, num_cpus=0, max_restarts=-1, max_task_retries=-1).remote()
    try:
        yield
    finally:
        ray.kill(actor)
