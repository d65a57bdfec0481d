"""A Tune scheduler's word on a training within a trial: whether what it has learnt is enough.

Ray 2.60 does not give back what a Ray Train job holds in a trial that is stopped from outside. So the scheduler lets
every trial go on, and writes its verdict on each epoch into a named actor; the training asks for it at the epoch's end,
and ends by itself. A verdict follows from what the epoch reported alone, so that it is the same whenever it is asked.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import ray
from pydantic import BaseModel, ConfigDict
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from raynas.evaluation.actors import NAMESPACE

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.experiment import Trial

_POLL_SECONDS, _PATIENCE_SECONDS = 0.1, 300.0


class Judge(BaseModel):
    """Where a training within a trial finds the verdicts on it.

    Attributes:
        actor: the name of the actor that holds them.
        trial: the trial's number.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    actor: str
    trial: int

    def says_enough(self, step: str, epoch: int) -> bool:
        """The verdict on an epoch that has been reported; waits for it.

        Raises:
            TimeoutError: if it does not come, as when the actor that held it has died: report the epoch again.
        """
        verdicts = ray.get_actor(self.actor, NAMESPACE)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            verdict = cast("bool | None", ray.get(verdicts.read.remote(self.trial, step, epoch)))
            if verdict is not None:
                return verdict
            time.sleep(_POLL_SECONDS)
        raise TimeoutError(f"No verdict on epoch {epoch} of {step} in trial {self.trial}.")


class Verdicts:
    """What was said of each epoch; an actor."""

    def __init__(self) -> None:
        self._said: dict[tuple[int, str, int], bool] = {}

    @ray.method
    def write(self, trial: int, step: str, epoch: int, enough: bool) -> None:
        self._said[trial, step, epoch] = enough

    @ray.method
    def read(self, trial: int, step: str, epoch: int) -> bool | None:
        return self._said.get((trial, step, epoch))


@contextmanager
def verdicts(name: str) -> Iterator[None]:
    """Keep the actor of one sweep, which any process of the run finds by its name."""
    remote = ray.remote(Verdicts)
    actor: Any = remote.options(
        name=name, namespace=NAMESPACE, num_cpus=0, max_restarts=-1, max_task_retries=-1
    ).remote()
    try:
        yield
    finally:
        ray.kill(actor)


class JudgingScheduler(FIFOScheduler):
    """Runs trials in their order, lets all go on, and says of each epoch that one reports whether it is enough."""

    def __init__(self, actor: str) -> None:
        initialise: Callable[[], None] = super().__init__
        initialise()
        self._actor = actor

    @abstractmethod
    def enough(self, row: dict[str, Any]) -> bool:
        """Whether a training may end with the epoch that it reports in this row."""

    def on_trial_result(self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]) -> str:
        if "epoch" in result:
            number = int(trial.config["trial"])
            verdicts = ray.get_actor(self._actor, NAMESPACE)
            ray.get(verdicts.write.remote(number, result["step"], result["epoch"], self.enough(result)))
        return str(TrialScheduler.CONTINUE)
