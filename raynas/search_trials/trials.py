"""Ray Tune trials, as searches and sweeps use them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from raynas.recipe.settings import ScaleSettings
from raynas.search_trials.job import TuneJob
from raynas.storage.errors import StepFailed
from raynas.storage.run_folder import RunFolder

Report = Callable[[dict[str, Any]], None]
_RESOURCES = {"memory": float(2**20)}
"""The resources of a trial, in bytes. A trial takes no CPU, since the workers that it waits for may need them all."""


def run_trials(
    trial: Callable[[dict[str, Any]], None],
    job: TuneJob,
    count: int,
    scale: ScaleSettings,
    progress: Report,
    concurrent: int | None = None,
    scheduler: TrialScheduler | None = None,
    callbacks: Sequence[tune.Callback] = (),
) -> None:
    """Run `trial({"job": ..., "trial": number})` for each number below `count`, each in a process of its own.

    Args:
        progress: called with every report of every trial.
        concurrent: the number of trials that run side by side; None for as many as fit.
        scheduler: Ray Tune's; None to run the trials in their order.
        callbacks: Ray Tune's.

    Raises:
        StepFailed: if a trial died more often than `scale.max_failures`.
    """
    results = tune.Tuner(
        tune.with_resources(trial, tune.PlacementGroupFactory([_RESOURCES])),
        param_space={"job": job.json_value(), "trial": tune.grid_search(list(range(count)))},
        tune_config=tune.TuneConfig(
            reuse_actors=True,
            max_concurrent_trials=concurrent,
            scheduler=scheduler,
            trial_dirname_creator=lambda trial: f"trial-{trial.trial_id}",
            trial_name_creator=lambda trial: f"trial-{trial.trial_id}",
        ),
        run_config=tune.RunConfig(
            name=f"attempt-{job.attempt:03d}",
            storage_path=(RunFolder(job.run) / job.folder / "ray").uri,
            failure_config=tune.FailureConfig(max_failures=scale.max_failures),
            callbacks=[_ProgressCallback(progress), *callbacks],
            verbose=0,
        ),
    ).fit()
    if results.num_errors:
        raise StepFailed(str(results.errors[0]).strip().splitlines()[-1])


class _ProgressCallback(tune.Callback):
    """Passes the reports of trials on. Tune pickles its callbacks; the function that gets the reports stays here."""

    def __init__(self, progress: Report) -> None:
        self._progress = progress

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **_: Any
    ) -> None:
        self._progress(result)
