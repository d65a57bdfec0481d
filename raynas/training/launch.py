"""Launch a training job as a Ray Train `TorchTrainer`: data-parallel workers that Ray restarts when they die."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from raynas.cluster.devices import gradient_backend, resources_per_process
from raynas.cluster.ray_session import missing_resources
from raynas.storage.errors import StepFailed
from raynas.storage.run_folder import DamagedFile, RunFolder
from raynas.storage.step_records import read_history
from raynas.training.job import FAILURE_FILE, PROGRESS_FILE, UNREADABLE_FILE, WORKERS_FILE

if TYPE_CHECKING:
    from raynas.recipe.settings import ScaleSettings
    from raynas.storage.progress import Reporter
    from raynas.training.job import TrainingJob

_PROCESS_GROUP_SECONDS = 1800
_DIVERGENCES_FILE = "divergences.json"
_RATE_FACTOR = 0.1
"""The factor of the learning rate after each divergence."""
_MAX_DIVERGENCES = 5
_POLL_SECONDS = 0.5
_CLUSTER_SECONDS = 5.0


def launch(job: TrainingJob, scale: ScaleSettings, reporter: Reporter) -> list[dict[str, Any]]:
    """Run a training job to its end. The weights lie in the step's folder then.

    Args:
        reporter: shows the progress, and what went wrong and was repaired.

    Returns:
        One row of metrics an epoch.

    Raises:
        StepFailed: if the loss diverged, memory ran out, or the workers died more often than `scale.max_failures`.
    """
    folder = RunFolder(job.run) / job.folder
    for file in (FAILURE_FILE, UNREADABLE_FILE):
        folder.delete(file)
    with _polling(_ProgressPoller(folder, scale, reporter)), _interruptible():
        while True:
            workers = _worker_count(folder, scale.train.workers)
            attempt = job.changed(rate_factor=_RATE_FACTOR ** _divergences(folder))
            _train(attempt, scale, workers, folder)
            if folder.exists(FAILURE_FILE):
                _lower_learning_rate(job, folder, reporter)
            elif workers == _worker_count(folder, scale.train.workers):
                break
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


def _train(job: TrainingJob, scale: ScaleSettings, workers: int, folder: RunFolder) -> None:
    """Train to the end, or until fewer workers are enough."""
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.train.v2.api.config import FailureConfig

    from raynas.training.trainer import train_worker

    trainer = TorchTrainer(
        train_worker,
        train_loop_config=job.json_value(),
        torch_config=TorchConfig(gradient_backend(scale.train.gpus), timeout_s=_PROCESS_GROUP_SECONDS),
        scaling_config=ScalingConfig(
            num_workers=workers,
            use_gpu=scale.train.gpus > 0,
            resources_per_worker=resources_per_process(scale.train),
        ),
        run_config=RunConfig(
            name=f"attempt-{job.attempt:03d}-workers-{workers}",
            storage_path=(folder / "ray").uri,
            failure_config=FailureConfig(
                max_failures=scale.max_failures,
                controller_failure_limit=scale.max_failures + math.ceil(scale.wait_minutes),
            ),
            callbacks=_callbacks(job),
        ),
    )
    try:
        trainer.fit()
    except Exception as error:
        if not folder.exists(FAILURE_FILE):
            raise StepFailed(f"Training of {job.name} stopped: {_last_line(error)}") from error


def _callbacks(job: TrainingJob) -> list[Any]:
    """Return Ray Train's callbacks: the controller's exit, and the reports to the Tune trial around the training."""
    from ray.tune.integration.ray_train import TuneReportCallback

    from raynas.runtime.controller_exit import ImmediateExit

    to_tune: Callable[[], Any] = TuneReportCallback
    return [ImmediateExit(), *([to_tune()] if job.early_stop else [])]


@contextmanager
def _polling(poller: _ProgressPoller) -> Iterator[None]:
    """While training runs, let the poller look every half second, and once more at the end."""
    ended = threading.Event()

    def poll() -> None:
        while not ended.wait(_POLL_SECONDS):
            poller.look()
        poller.look()

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class _ProgressPoller:
    """Shows the progress that the first worker writes, and says when the cluster is too small for the workers."""

    def __init__(self, folder: RunFolder, scale: ScaleSettings, reporter: Reporter) -> None:
        self._folder, self._scale, self._reporter = folder, scale, reporter
        self._unreadable: list[str] = []
        self._missing = ""
        self._looked = 0.0

    def look(self) -> None:
        progress = _read(self._folder, PROGRESS_FILE)
        if progress is not None:
            top1 = progress["most_probable_top1"]
            accuracy = "" if top1 is None else f", one-shot accuracy of the most probable architecture {top1:.2f} %"
            detail = f"training steps, training loss {progress['loss']:.3f}{accuracy}"
            self._reporter.update(progress["done"], progress["total"], detail)
        self._look_for_unreadable_checkpoints()
        if time.monotonic() - self._looked > _CLUSTER_SECONDS:
            self._looked = time.monotonic()
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


@contextmanager
def _interruptible() -> Iterator[None]:
    """Keep Ctrl-C an interrupt: Ray Train 2.60 would end the process as if training had finished."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as end:
        raise KeyboardInterrupt from end
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1][:300] if str(error).strip() else type(error).__name__
