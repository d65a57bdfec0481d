"""Training workers as a Ray Train `TorchTrainer`: data-parallel processes that Ray restarts, and the jobs they get."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from raynas.cluster.devices import gradient_backend, resources_per_process
from raynas.cluster.living_group import GroupEnded, LivingGroup
from raynas.cluster.ray_session import missing_resources
from raynas.storage.errors import StepFailed
from raynas.storage.progress import describe_loading
from raynas.storage.run_folder import DamagedFile, RunFolder
from raynas.storage.step_records import read_history
from raynas.training.job import FAILURE_FILE, PROGRESS_FILE, UNREADABLE_FILE, WORKERS_FILE

if TYPE_CHECKING:
    from raynas.cluster.living_group import Successive
    from raynas.recipe.settings import ScaleSettings
    from raynas.storage.progress import Reporter
    from raynas.training.job import TrainingJob

_PROCESS_GROUP_SECONDS = 1800
_DIVERGENCES_FILE = "divergences.json"
_RATE_FACTOR = 0.1
"""The factor of the learning rate after each divergence."""
_MAX_DIVERGENCES = 5
_LOOK_SECONDS = 0.5
_CLUSTER_SECONDS = 5.0


def launch(
    job: TrainingJob,
    workers: Successive,
    scale: ScaleSettings,
    reporter: Reporter,
    when_begun: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:
    """Let the training workers of a run carry out a job. The weights lie in the step's folder then.

    Args:
        workers: the workers, which live on between trainings (`start_workers`).
        reporter: shows the progress, and what went wrong and was repaired.
        when_begun: called again and again while the workers train.

    Returns:
        One row of metrics an epoch.

    Raises:
        StepFailed: if the loss diverged, memory ran out, or the workers died more often than `scale.max_failures`.
    """
    folder = RunFolder(job.run) / job.folder
    for file in (FAILURE_FILE, UNREADABLE_FILE):
        folder.delete(file)
    poller = _ProgressPoller(folder, scale, reporter, when_begun)
    while True:
        count = _worker_count(folder, scale.train.workers)
        attempt = job.changed(rate_factor=_RATE_FACTOR ** _divergences(folder))
        try:
            workers.carry_out(attempt.json_value(), poller.look, count, job.early_stop is not None)
        except GroupEnded as end:
            if not folder.exists(FAILURE_FILE):
                raise StepFailed(f"Training of {job.name} stopped: {_last_line(end.__cause__)}") from end
        poller.look(at_once=True)
        if folder.exists(FAILURE_FILE):
            _lower_learning_rate(job, folder, reporter)
        elif count == _worker_count(folder, scale.train.workers):
            return read_history(folder)


def _divergences(folder: RunFolder) -> int:
    """Return how often this training has gone on with a lower learning rate."""
    return int(folder.read_json(_DIVERGENCES_FILE)["times"]) if folder.exists(_DIVERGENCES_FILE) else 0


def _lower_learning_rate(job: TrainingJob, folder: RunFolder, reporter: Reporter) -> None:
    """After a divergence, return to the end of the last epoch, if `on_divergence` is `lower-lr`.

    Raises:
        StepFailed: if it is `stop`, if lower rates did not help, or if the failure was not a divergence.
    """
    from raynas.training.checkpoints import return_to_end_of_epoch

    failure = folder.read_json(FAILURE_FILE)
    if failure["kind"] != "divergence":
        raise StepFailed(failure["message"])
    times = _divergences(folder) + 1
    if job.training.on_divergence == "stop" or times > _MAX_DIVERGENCES:
        raise StepFailed(
            f"{failure['message']}, in the step {job.name}. Its last good checkpoint is kept. Start another "
            "run (--out) with training.on_divergence=lower-lr or a lower learning rate."
        )
    folder.write_json(_DIVERGENCES_FILE, {"times": times})
    return_to_end_of_epoch(folder)
    folder.delete(FAILURE_FILE)
    reporter.say(
        f"{failure['message']}: training goes on from the end of the epoch before, with {_RATE_FACTOR**times:g} of its "
        "learning rate"
    )


def _worker_count(folder: RunFolder, wanted: int) -> int:
    """Return the number of workers to go on with: the wanted number, until fewer workers were enough."""
    return min(wanted, folder.read_json(WORKERS_FILE)["workers"]) if folder.exists(WORKERS_FILE) else wanted


def start_workers(
    run: RunFolder, attempt: int, queue: str, scale: ScaleSettings, workers: int, reports_to_tune: bool
) -> LivingGroup:
    """Start training workers as a Ray Train job.

    Args:
        queue: the folder of their jobs in the run folder.
        reports_to_tune: whether the Tune trial around the trainings gets each epoch's metrics, to stop trainings early.
    """
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.train.v2.api.config import FailureConfig

    from raynas.cluster.controller_exit import ImmediateExit
    from raynas.training.worker import serve_trainings

    callbacks: list[Any] = [ImmediateExit((run / queue).uri)]
    if reports_to_tune:
        from ray.tune.integration.ray_train import TuneReportCallback

        to_tune: Callable[[], Any] = TuneReportCallback
        callbacks.append(to_tune())
    trainer = TorchTrainer(
        serve_trainings,
        train_loop_config={"run": run.uri, "attempt": attempt, "queue": queue},
        torch_config=TorchConfig(gradient_backend(scale.train.gpus), timeout_s=_PROCESS_GROUP_SECONDS),
        scaling_config=ScalingConfig(
            num_workers=workers,
            use_gpu=scale.train.gpus > 0,
            resources_per_worker=resources_per_process(scale.train),
        ),
        run_config=RunConfig(
            name="workers",
            storage_path=(run / queue / "ray").uri,
            failure_config=FailureConfig(
                max_failures=scale.max_failures,
                controller_failure_limit=scale.max_failures + math.ceil(scale.wait_minutes),
            ),
            callbacks=callbacks,
        ),
    )
    return LivingGroup(trainer.fit, run / queue)


class _ProgressPoller:
    """Shows the progress that the first worker writes, and says when the cluster is too small for the workers."""

    def __init__(
        self, folder: RunFolder, scale: ScaleSettings, reporter: Reporter, when_begun: Callable[[], None]
    ) -> None:
        self._folder, self._scale, self._reporter, self._when_begun = folder, scale, reporter, when_begun
        self._unreadable: list[str] = []
        self._missing = ""
        self._looked = self._counted = 0.0

    def look(self, at_once: bool = False) -> None:
        """Look, if the last look was half a second ago."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS and not at_once:
            return
        self._looked = now
        progress = _read(self._folder, PROGRESS_FILE)
        if progress is not None:
            self._when_begun()
            top1 = progress["most_probable_top1"]
            accuracy = "" if top1 is None else f", one-shot accuracy of the most probable architecture {top1:.2f} %"
            detail = f"training steps, training loss {progress['loss']:.3f}{accuracy}, {describe_loading(progress)}"
            self._reporter.update(progress["done"], progress["total"], detail)
        self._look_for_unreadable_checkpoints()
        if now - self._counted > _CLUSTER_SECONDS:
            self._counted = now
            self._look_for_missing_resources()

    def _look_for_unreadable_checkpoints(self) -> None:
        unreadable = _read(self._folder, UNREADABLE_FILE)
        if unreadable is not None and unreadable["files"] != self._unreadable:
            self._unreadable = unreadable["files"]
            instead = unreadable["instead"] or "the beginning"
            self._reporter.say(f"{', '.join(unreadable['files'])} cannot be read: training goes on from {instead}")

    def _look_for_missing_resources(self) -> None:
        workers = _worker_count(self._folder, self._scale.train.workers)
        missing = missing_resources(workers, resources_per_process(self._scale.train))
        if missing and missing != self._missing:
            self._reporter.say(f"The cluster has become too small, and training waits: {missing}.")
        self._missing = missing


def _read(folder: RunFolder, name: str) -> dict[str, Any] | None:
    try:
        return folder.read_json(name)
    except (FileNotFoundError, DamagedFile):
        return None


def _last_line(error: BaseException | None) -> str:
    return str(error).strip().splitlines()[-1][:300] if str(error).strip() else type(error).__name__
