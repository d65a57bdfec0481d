"""Launching a training job as a Ray Train `TorchTrainer`: data-parallel workers that are restarted when they die."""

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
_DIVERGENCES = "divergences.json"
_LOWERED = 0.1
_MOST_DIVERGENCES = 5
_POLL_SECONDS = 0.5
_CLUSTER_SECONDS = 5.0


def launch(job: TrainingJob, scale: ScaleSettings, reporter: Reporter) -> list[dict[str, Any]]:
    """Run a training job to its end; returns one row of metrics an epoch. The weights lie in the step's folder.

    Args:
        reporter: is told how far training is, and what has gone wrong and been mended.

    Raises:
        StepFailed: if the loss diverged, memory ran out, or the workers died more often than `scale.max_failures`.
    """
    folder = RunFolder(job.run) / job.folder
    for said in (FAILURE_FILE, UNREADABLE_FILE):
        folder.delete(said)
    with _polling(_ProgressPoller(folder, scale, reporter)), _interruptible():
        while True:
            workers = _workers(folder, scale.train.workers)
            attempt = job.changed(rate_factor=_LOWERED ** _divergences(folder))
            _train(attempt, scale, workers, folder)
            if folder.exists(FAILURE_FILE):
                _lower_the_rate(job, folder, reporter)
            elif workers == _workers(folder, scale.train.workers):
                break
    return read_history(folder)


def _divergences(folder: RunFolder) -> int:
    """How often this training has gone on at a lower rate."""
    return int(folder.read_json(_DIVERGENCES)["times"]) if folder.exists(_DIVERGENCES) else 0


def _lower_the_rate(job: TrainingJob, folder: RunFolder, reporter: Reporter) -> None:
    """After a divergence, go back to the end of the last epoch, if that is what is wanted.

    Raises:
        StepFailed: if it is not, if it has been of no use, or if it was not a divergence.
    """
    from raynas.training.checkpoints import return_to_end_of_epoch

    failure = folder.read_json(FAILURE_FILE)
    if failure["kind"] != "divergence":
        raise StepFailed(failure["message"])
    times = _divergences(folder) + 1
    if job.training.on_divergence == "stop" or times > _MOST_DIVERGENCES:
        raise StepFailed(
            f"{failure['message']}, in the step {job.name}: its last good checkpoint is kept; set "
            "on_divergence: lower-lr, or a lower learning_rate, in another folder (--out)."
        )
    folder.write_json(_DIVERGENCES, {"times": times})
    return_to_end_of_epoch(folder)
    folder.delete(FAILURE_FILE)
    reporter.say(
        f"{failure['message']}: training goes on from the end of the epoch before, with {_LOWERED**times:g} of its rate"
    )


def _workers(folder: RunFolder, asked: int) -> int:
    """How many workers to go on with: as many as asked for, until that was too many."""
    return min(asked, folder.read_json(WORKERS_FILE)["workers"]) if folder.exists(WORKERS_FILE) else asked


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
    """How the controller leaves; and what passes on to the Tune trial around a training what the training reports."""
    from ray.tune.integration.ray_train import TuneReportCallback

    from raynas.runtime.controller_exit import ImmediateExit

    to_tune: Callable[[], Any] = TuneReportCallback
    return [ImmediateExit(), *([to_tune()] if job.early_stop else [])]


@contextmanager
def _polling(watcher: _ProgressPoller) -> Iterator[None]:
    """While training runs, let a watcher look now and then, and once more at the end."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_POLL_SECONDS):
            watcher.look()
        watcher.look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class _ProgressPoller:
    """Tells what the first worker writes down, and when the cluster holds the workers no more."""

    def __init__(self, folder: RunFolder, scale: ScaleSettings, reporter: Reporter) -> None:
        self._folder, self._scale, self._reporter = folder, scale, reporter
        self._passed_over: list[str] = []
        self._missing = ""
        self._looked = 0.0

    def look(self) -> None:
        now = _read(self._folder, PROGRESS_FILE)
        if now is not None:
            chosen = now["most_probable_top1"]
            best = "" if chosen is None else f", one-shot accuracy of the most probable {chosen:.2f} %"
            self._reporter.update(now["done"], now["total"], f"steps, training loss {now['loss']:.3f}{best}")
        self._look_for_damage()
        if time.monotonic() - self._looked > _CLUSTER_SECONDS:
            self._looked = time.monotonic()
            self._look_for_room()

    def _look_for_damage(self) -> None:
        found = _read(self._folder, UNREADABLE_FILE)
        if found is not None and found["files"] != self._passed_over:
            self._passed_over = found["files"]
            instead = found["instead"] or "the beginning"
            self._reporter.say(f"{', '.join(found['files'])} cannot be read: training goes on from {instead}")

    def _look_for_room(self) -> None:
        missing = missing_resources(
            _workers(self._folder, self._scale.train.workers), resources_per_process(self._scale.train)
        )
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
    """Ray Train answers Ctrl-C by ending the process as if all were well; here it stays an interrupt."""
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
