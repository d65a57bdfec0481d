"""What searches and sweeps share of Ray Tune: trials that are told their number, and a callback that hears of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from raynas.recipe.recipe import ScaleSettings, Settings
from raynas.storage.run_folder import RunFolder
from raynas.study.steps import StepFailed

Report = Callable[[dict[str, Any]], None]
_TRIAL = {"memory": float(2**20)}
"""What a trial asks of the cluster, bytes: no part of a core, as the workers that it waits for may need them all."""


class TuneJob(Settings):
    """What every trial is given, as plain JSON.

    Attributes:
        run: the run folder's URI.
        folder: the step's folder in the run folder.
        attempt: the driver's.
    """

    run: str
    folder: str
    attempt: int


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
    """Run `trial({"job": ..., "trial": number})` for each number below `count`, each in a process.

    Args:
        progress: called with what trials report.
        concurrent: how many run side by side; as many as fit where it is not given.
        scheduler: Ray Tune's; trials run in their order where it is not given.
        callbacks: Ray Tune's, that hear of what trials report, too.

    Raises:
        StepFailed: if a trial died more often than `scale.max_failures`.
    """
    results = tune.Tuner(
        tune.with_resources(trial, tune.PlacementGroupFactory([_TRIAL])),
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
            callbacks=[_Reports(progress), *callbacks],
            verbose=0,
        ),
    ).fit()
    if results.num_errors:
        raise StepFailed(f"{job.folder} stopped: {str(results.errors[0]).strip().splitlines()[-1]}")


class _Reports(tune.Callback):
    """Passes on what a trial reports. Tune pickles its callbacks; what is passed on to stays in the driver."""

    def __init__(self, progress: Report) -> None:
        self._progress = progress

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **_: Any
    ) -> None:
        self._progress(result)
