"""Launching a training job as a Ray Train `TorchTrainer`: data-parallel workers that are restarted when they die."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from raynas.run_folder import Damaged, RunFolder
from raynas.steps import StepFailed

if TYPE_CHECKING:
    from raynas.recipe import ScaleSettings
    from raynas.training.worker import TrainingJob

_PROCESS_GROUP_SECONDS = 1800
_POLL_SECONDS = 0.5


def launch(job: TrainingJob, scale: ScaleSettings, progress: Callable[[int, int, str], None]) -> list[dict[str, Any]]:
    """Run a training job to its end; returns one row of metrics an epoch. The weights lie in the step's folder.

    Args:
        progress: called now and then with the steps done, the steps in all, and the epoch's loss in words.

    Raises:
        StepFailed: if the loss diverged, or the workers died more often than `scale.max_failures`.
    """
    folder = RunFolder(job.run) / job.step
    folder.delete("failure.json")
    workers = 0
    with _watched(folder, progress), _interruptible():
        while (enough := _workers(folder, scale.train_workers)) != workers:
            workers = enough
            _train(job, scale, workers, folder)
    rows: list[dict[str, Any]] = folder.read_json("history.json")["epochs"]
    return rows


def _workers(folder: RunFolder, asked: int) -> int:
    """How many workers to go on with: as many as asked for, until that was too many."""
    from raynas.training.worker import WORKERS

    return min(asked, folder.read_json(WORKERS)["workers"]) if folder.exists(WORKERS) else asked


def _train(job: TrainingJob, scale: ScaleSettings, workers: int, folder: RunFolder) -> None:
    """Train to the end, or until fewer workers are enough."""
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.train.v2.api.config import FailureConfig

    from raynas.training.worker import work

    trainer = TorchTrainer(
        work,
        train_loop_config=job.json_value(),
        torch_config=TorchConfig(timeout_s=_PROCESS_GROUP_SECONDS),
        scaling_config=ScalingConfig(
            num_workers=workers,
            use_gpu=scale.gpus > 0,
            resources_per_worker={"CPU": 1, **({"GPU": scale.gpus} if scale.gpus else {})},
        ),
        run_config=RunConfig(
            name=f"attempt-{job.attempt:03d}-workers-{workers}",
            storage_path=(folder / "ray").uri,
            failure_config=FailureConfig(
                max_failures=scale.max_failures,
                controller_failure_limit=scale.max_failures,
            ),
            callbacks=[_to_tune()] if job.judge else None,
        ),
    )
    try:
        trainer.fit()
    except Exception as error:
        raise StepFailed(f"Training of {job.step} stopped: {_last_line(error)}") from error
    if folder.exists("failure.json"):
        raise StepFailed(folder.read_json("failure.json")["message"])


def _to_tune() -> Any:
    """A callback that passes on to the Tune trial around the training what the training reports."""
    from ray.tune.integration.ray_train import TuneReportCallback

    make: Callable[[], Any] = TuneReportCallback
    return make()


@contextmanager
def _watched(folder: RunFolder, progress: Callable[[int, int, str], None]) -> Iterator[None]:
    """While training runs, read the progress that the first worker writes down."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_POLL_SECONDS):
            try:
                now = folder.read_json("progress.json")
            except (FileNotFoundError, Damaged):
                continue
            chosen = now["likeliest_top1"]
            best = "" if chosen is None else f", one-shot accuracy of the likeliest {chosen:.2f} %"
            progress(now["done"], now["total"], f"steps, training loss {now['loss']:.3f}{best}")

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


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
