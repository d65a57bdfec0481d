"""A sweep: one durable step that carries out a trainable for several settings, as a Ray Tune run.

Each trial has a study of its own, in a folder inside the step's folder, with steps as durable as the run's. A trial
that runs again reads back its finished steps. Trials are never stopped from outside: Ray 2.60 does not give back the
resources of a Ray Train job in a stopped trial.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from raynas.results.evaluation_table import EvaluationTable
from raynas.study.tracking import search_callbacks
from raynas.study.trainable import SweepJob, SweepTrial, Trainable

if TYPE_CHECKING:
    from raynas.study.study import Study
    from raynas.training.early_stop import EarlyStop


def sweep(
    study: Study,
    name: str,
    trainable: Trainable,
    settings: Sequence[Mapping[str, Any]],
    early_stop: EarlyStop | None = None,
) -> list[SweepTrial]:
    """Carry out a trainable for each setting, and copy the rows of each trial's last step into the evaluation table.

    Args:
        settings: plain JSON. The entry `recipe` of a setting replaces keys of the run's recipe (`seed`, `budget`).
        early_stop: the rule by which trainings that choose an architecture may stop early.

    Raises:
        StepFailed: if a trial died more often than `scale.max_failures`.
    """
    context, recipe = study.context, study.recipe
    job = SweepJob(
        run=study.folder.uri,
        attempt=context.attempt,
        recipe=recipe.json_value(),
        trainable=trainable.reference(),
        settings=tuple(dict(setting) for setting in settings),
        early_stop=early_stop.reference() if early_stop else None,
    )
    finished: set[int] = set()

    def progress(report: dict[str, Any]) -> None:
        if "epoch" not in report:
            finished.add(report["trial"])
            context.reporter.update(len(finished), len(settings), "trials")

    def work(folder: str) -> dict[str, Any]:
        context.processes.make_room(recipe.scale.train.workers)
        from raynas.study.sweep_trial import run_sweep_trials, trial_folder

        callbacks = search_callbacks(recipe.track, study.folder.uri, name)
        results = run_sweep_trials(job.changed(folder=folder), recipe.scale, progress, callbacks)
        folders = [f"{folder}/{trial_folder(trial)}" for trial in range(len(settings))]
        for trial, own in enumerate(folders):
            EvaluationTable(study.folder).copy_last_step(study.folder / own, name, trial)
        return {"folders": folders, "results": results}

    identity = {
        "recipe": recipe.identity(),
        "trainable": trainable.identity(),
        "settings": list(job.settings),
        "early_stop": early_stop.identity() if early_stop else None,
    }
    result = study.do(name, "sweep", f"sweeping {len(settings)} settings", identity, work)
    return [SweepTrial(*trial) for trial in zip(settings, result["results"], result["folders"], strict=True)]
