"""A sweep as a Ray Tune run: each trial is a function of a study of its own, whose steps are as durable as the run's.

A trial's study lies in a folder in the step's folder; a trial that is done again replays what it has finished. Trials
are never stopped from outside: Ray 2.60 does not give back what a Ray Train job in a stopped trial holds.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from ray import tune

from raynas.recipe.recipe import Recipe, ScaleSettings
from raynas.runtime.process import prepare_process
from raynas.search_trials.trials import TuneJob, run_trials
from raynas.storage import lock
from raynas.storage.run_folder import RunFolder, digest
from raynas.study.run import opened
from raynas.study.run_plan import plan
from raynas.training.early_stop import Judge, verdicts

if TYPE_CHECKING:
    from raynas.study.study import Study

Trainable = Callable[["Study", dict[str, Any], RunFolder], dict[str, Any]]
"""Is given a study of its own, its setting and the folder of the run that sweeps; returns plain JSON."""


class SweepJob(TuneJob):
    """All that a trial needs, as plain JSON.

    Attributes:
        recipe: the run's; what a setting has under `recipe` replaces it in its trial.
        trainable: the import path of a `Trainable`.
        settings: one a trial.
        scheduler: the import path of a `JudgingScheduler` and its settings, where trainings may end early.
    """

    recipe: dict[str, Any]
    trainable: str
    settings: list[dict[str, Any]]
    scheduler: dict[str, Any] | None

    @property
    def judge(self) -> str:
        """The name of the actor that holds the scheduler's verdicts."""
        return f"verdicts-{digest([self.run, self.folder, self.attempt])[:12]}"


def sweep(
    job: SweepJob,
    scale: ScaleSettings,
    progress: Callable[[dict[str, Any]], None],
    callbacks: Sequence[tune.Callback] = (),
) -> list[dict[str, Any]]:
    """Run one trial a setting to its end; returns what each trial's function returned.

    Args:
        progress: called after each trial with what it returned.
        callbacks: Ray Tune's, that hear of it, too.

    Raises:
        StepFailed: if a trial died more often than `scale.max_failures`.
    """
    with ExitStack() as stack:
        scheduler = None
        if job.scheduler is not None:
            stack.enter_context(verdicts(job.judge))
            settings = {key: value for key, value in job.scheduler.items() if key != "path"}
            scheduler = pkgutil.resolve_name(job.scheduler["path"])(job.judge, **settings)
        run_trials(
            _trial, job, len(job.settings), scale, progress, scale.concurrent_trials, scheduler, callbacks=callbacks
        )
    here = RunFolder(job.run) / job.folder
    return [(here / trial_folder(trial)).read_json("result.json") for trial in range(len(job.settings))]


def trial_folder(trial: int) -> str:
    """A trial's folder in the step's folder: a run folder of its own."""
    return f"trial-{trial:03d}"


def _trial(config: dict[str, Any]) -> None:
    """One trial, in a process of its own."""
    job, trial = SweepJob.model_validate(config["job"]), int(config["trial"])
    setting = job.settings[trial]
    recipe = Recipe.model_validate({**job.recipe, **setting.get("recipe", {})})
    prepare_process(recipe.scale.threads, deterministic=False)
    lock.note_process(RunFolder(job.run), job.attempt)
    folder = RunFolder(job.run) / job.folder / trial_folder(trial)
    trainable: Trainable = pkgutil.resolve_name(job.trainable)
    judge = Judge(actor=job.judge, trial=trial) if job.scheduler else None
    with opened(plan(recipe, job.run), folder, judge=judge) as study:
        result = trainable(study, setting, RunFolder(job.run))
    folder.write_json("result.json", result)
    tune.report({"trial": trial, **result})
