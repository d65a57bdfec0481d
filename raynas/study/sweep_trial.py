"""The trials of a sweep, in processes of their own, and the scheduler that decides about early stops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from raynas.recipe.recipe import Recipe
from raynas.recipe.settings import ScaleSettings
from raynas.runtime.process import NAMESPACE, prepare_process
from raynas.search_trials.trials import run_trials
from raynas.storage import lock
from raynas.storage.errors import StepFailed
from raynas.storage.run_folder import RunFolder
from raynas.study.run import open_study
from raynas.study.run_plan import plan
from raynas.study.trainable import SweepJob, Trainable
from raynas.training.early_stop import EarlyStop, EarlyStopClient, start_decisions

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.experiment import Trial

_RESULT = "result.json"


def run_sweep_trials(
    job: SweepJob,
    scale: ScaleSettings,
    progress: Callable[[dict[str, Any]], None],
    callbacks: Sequence[tune.Callback] = (),
) -> list[dict[str, Any]]:
    """Run one trial for each setting to its end; returns the trials' results.

    Args:
        progress: called with every report of every trial.
        callbacks: Ray Tune's.

    Raises:
        StepFailed: if a trial died more often than `scale.max_failures`.
    """
    count = len(job.settings)
    with ExitStack() as stack:
        scheduler = None
        if job.early_stop is not None:
            stack.enter_context(start_decisions(job.decisions_actor))
            scheduler = EarlyStopScheduler(job.decisions_actor, EarlyStop.restore(job.early_stop))
        try:
            run_trials(_trial, job, count, scale, progress, scale.concurrent_trials, scheduler, callbacks)
        except StepFailed as error:
            raise StepFailed(f"{job.folder} stopped: {error}") from error
    folder = RunFolder(job.run) / job.folder
    return [(folder / trial_folder(trial)).read_json(_RESULT) for trial in range(count)]


def trial_folder(trial: int) -> str:
    """Return a trial's run folder inside the step's folder."""
    return f"trial-{trial:03d}"


def _trial(config: dict[str, Any]) -> None:
    job, trial = SweepJob.model_validate(config["job"]), int(config["trial"])
    setting = job.settings[trial]
    recipe = Recipe.model_validate({**job.recipe, **setting.get("recipe", {})})
    prepare_process(recipe.scale.train.threads, deterministic=False)
    parent = RunFolder(job.run)
    lock.note_process(parent, job.attempt)
    folder = parent / job.folder / trial_folder(trial)
    trainable = Trainable.restore(job.trainable)
    early_stop = EarlyStopClient(actor=job.decisions_actor, trial=trial) if job.early_stop else None
    keep = recipe.scale.concurrent_trials == 1
    with open_study(plan(recipe, job.run), folder, early_stop=early_stop, keep=keep) as study:
        result = trainable.run(study, setting, parent)
    folder.write_json(_RESULT, result)
    tune.report({"trial": trial, **result})


class EarlyStopScheduler(FIFOScheduler):
    """Runs trials in their order and lets all go on. It writes a decision about each epoch that a trial reports."""

    def __init__(self, actor: str, rule: EarlyStop) -> None:
        initialise: Callable[[], None] = super().__init__
        initialise()
        self._actor, self._rule = actor, rule

    def on_trial_result(self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]) -> str:
        if "epoch" in result:
            number, stop = int(trial.config["trial"]), self._rule.may_stop(result)
            decisions = ray.get_actor(self._actor, NAMESPACE)
            ray.get(decisions.write.remote(number, result["step"], result["epoch"], stop))
        return str(TrialScheduler.CONTINUE)
