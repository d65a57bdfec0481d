"""Launching a training job as a Ray Train `TorchTrainer`: data-parallel workers that are restarted when they die."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from raynas.cluster.devices import backend, bundle
from raynas.cluster.ray_session import lacking
from raynas.storage.run_folder import Damaged, RunFolder
from raynas.study.steps import StepFailed

if TYPE_CHECKING:
    from raynas.recipe.recipe import ScaleSettings
    from raynas.storage.progress import Reporter
    from raynas.training.trainer import TrainingJob

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
    from raynas.training.trainer import FAILURE, PASSED_OVER

    folder = RunFolder(job.run) / job.step
    for said in (FAILURE, PASSED_OVER):
        folder.delete(said)
    with _watched(_Watcher(folder, scale, reporter)), _interruptible():
        while True:
            workers = _workers(folder, scale.train_workers)
            attempt = job.model_copy(update={"rate_share": _LOWERED ** _divergences(folder)})
            _train(attempt, scale, workers, folder)
            if folder.exists(FAILURE):
                _lower_the_rate(job, folder, reporter)
            elif workers == _workers(folder, scale.train_workers):
                break
    rows: list[dict[str, Any]] = folder.read_json("history.json")["epochs"]
    return rows


def _divergences(folder: RunFolder) -> int:
    """How often this training has gone on at a lower rate."""
    return int(folder.read_json(_DIVERGENCES)["times"]) if folder.exists(_DIVERGENCES) else 0


def _lower_the_rate(job: TrainingJob, folder: RunFolder, reporter: Reporter) -> None:
    """After a divergence, go back to the end of the last epoch, if that is what is wanted.

    Raises:
        StepFailed: if it is not, if it has been of no use, or if it was not a divergence.
    """
    from raynas.training.checkpoints import return_to_end_of_epoch
    from raynas.training.trainer import FAILURE

    failure = folder.read_json(FAILURE)
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
    folder.delete(FAILURE)
    reporter.say(
        f"{failure['message']}: training goes on from the end of the epoch before, with {_LOWERED**times:g} of its rate"
    )


def _workers(folder: RunFolder, asked: int) -> int:
    """How many workers to go on with: as many as asked for, until that was too many."""
    from raynas.training.trainer import WORKERS

    return min(asked, folder.read_json(WORKERS)["workers"]) if folder.exists(WORKERS) else asked


def _train(job: TrainingJob, scale: ScaleSettings, workers: int, folder: RunFolder) -> None:
    """Train to the end, or until fewer workers are enough."""
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.train.v2.api.config import FailureConfig

    from raynas.training.trainer import FAILURE, work

    trainer = TorchTrainer(
        work,
        train_loop_config=job.json_value(),
        torch_config=TorchConfig(backend(scale.gpus), timeout_s=_PROCESS_GROUP_SECONDS),
        scaling_config=ScalingConfig(
            num_workers=workers,
            use_gpu=scale.gpus > 0,
            resources_per_worker=bundle(scale, cpus=1),
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
        if not folder.exists(FAILURE):
            raise StepFailed(f"Training of {job.step} stopped: {_last_line(error)}") from error


def _callbacks(job: TrainingJob) -> list[Any]:
    """How the controller leaves; and what passes on to the Tune trial around a training what the training reports."""
    from ray.tune.integration.ray_train import TuneReportCallback

    from raynas.runtime.controller_exit import Leaving

    to_tune: Callable[[], Any] = TuneReportCallback
    return [Leaving(), *([to_tune()] if job.judge else [])]


@contextmanager
def _watched(watcher: _Watcher) -> Iterator[None]:
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


class _Watcher:
    """Tells what the first worker writes down, and when the cluster holds the workers no more."""

    def __init__(self, folder: RunFolder, scale: ScaleSettings, reporter: Reporter) -> None:
        self._folder, self._scale, self._reporter = folder, scale, reporter
        self._passed_over: list[str] = []
        self._missing = ""
        self._looked = 0.0

    def look(self) -> None:
        now = _read(self._folder, "progress.json")
        if now is not None:
            chosen = now["likeliest_top1"]
            best = "" if chosen is None else f", one-shot accuracy of the likeliest {chosen:.2f} %"
            self._reporter.update(now["done"], now["total"], f"steps, training loss {now['loss']:.3f}{best}")
        self._look_for_damage()
        if time.monotonic() - self._looked > _CLUSTER_SECONDS:
            self._looked = time.monotonic()
            self._look_for_room()

    def _look_for_damage(self) -> None:
        from raynas.training.trainer import PASSED_OVER

        found = _read(self._folder, PASSED_OVER)
        if found is not None and found["files"] != self._passed_over:
            self._passed_over = found["files"]
            instead = found["instead"] or "the beginning"
            self._reporter.say(f"{', '.join(found['files'])} cannot be read: training goes on from {instead}")

    def _look_for_room(self) -> None:
        missing = lacking(_workers(self._folder, self._scale.train_workers), bundle(self._scale, cpus=1))
        if missing and missing != self._missing:
            self._reporter.say(f"The cluster has become too small, and training waits: {missing}.")
        self._missing = missing


def _read(folder: RunFolder, name: str) -> dict[str, Any] | None:
    try:
        return folder.read_json(name)
    except (FileNotFoundError, Damaged):
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
