"""Metrics in MLflow, Weights & Biases and TensorBoard.

MLflow and Weights & Biases read their server and credentials from the environment (`MLFLOW_TRACKING_URI`,
`WANDB_MODE`). Searches report through Ray's own callbacks, trainings once they have ended.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raynas.recipe.settings import Tracker
from raynas.storage.run_folder import RunFolder
from search_spaces.errors import UserError

if TYPE_CHECKING:
    from ray.tune import Callback

PROJECT = "raynas"
"""The experiment or project of all runs."""
Rows = Iterable[Mapping[str, Any]]


def check_trackers_installed(trackers: Sequence[Tracker]) -> None:
    """Raises UserError if a tracker's package is not installed."""
    for tracker in trackers:
        if find_spec(tracker) is None:
            raise UserError(f"track: {tracker} needs its package: pip install 'raynas[tracking]'.")


def search_callbacks(trackers: Sequence[Tracker], run: str, step: str) -> list[Callback]:
    """Return Ray's callbacks, which log every report of a step's trials."""
    if not trackers:
        return []
    tags = {"run": run, "step": step}
    kinds: dict[Tracker, Callable[[], Callback]] = {
        "mlflow": lambda: _mlflow_callback(tags),
        "wandb": lambda: _wandb_callback(tags),
    }
    return [kinds[tracker]() for tracker in trackers]


def _mlflow_callback(tags: dict[str, str]) -> Callback:
    import mlflow
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    # Without explicit addresses, Ray's callback ignores the environment.
    tracking, registry = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    return MLflowLoggerCallback(tracking, registry_uri=registry, experiment_name=PROJECT, tags=tags)


def _wandb_callback(tags: dict[str, str]) -> Callback:
    from ray.air.integrations.wandb import WandbLoggerCallback

    # The callback logs from Ray actors: they do not see this process's environment, and would write into Ray's folders.
    environment: dict[str, Any] = {
        "dir": os.environ.get("WANDB_DIR", os.getcwd()),
        "mode": os.environ.get("WANDB_MODE"),
    }
    return WandbLoggerCallback(project=PROJECT, group=tags["run"], excludes=["config"], config=tags, **environment)


def track_training(trackers: Sequence[Tracker], run: str, step: str, history: Rows) -> None:
    """Log the metrics of a finished training, epoch by epoch."""
    kinds: dict[Tracker, Callable[[str, str, Rows], None]] = {"mlflow": _to_mlflow, "wandb": _to_wandb}
    for tracker in trackers:
        kinds[tracker](run, step, history)


def _to_mlflow(run: str, step: str, history: Rows) -> None:
    import mlflow

    mlflow.set_experiment(PROJECT)
    with mlflow.start_run(run_name=step, tags={"run": run, "step": step}):
        for row in history:
            mlflow.log_metrics({key: float(value) for key, value in row.items()}, step=int(row["epoch"]))


def _to_wandb(run: str, step: str, history: Rows) -> None:
    import wandb

    tags = {"run": run, "step": step}
    with wandb.init(project=PROJECT, group=run, name=step, config=tags, reinit="create_new") as logged:
        for row in history:
            logged.log(dict(row), step=int(row["epoch"]))


def write_curves(folder: RunFolder, step: str, history: Iterable[Mapping[str, Any]]) -> None:
    """Write each metric of each epoch for TensorBoard, under `metrics/` of a local run folder.

    TensorBoard's writer appends to files, so an object store gets no curves.
    """
    if not folder.is_local:
        return
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(Path(folder.uri) / "metrics" / step)) as writer:
        for row in history:
            for key in row.keys() - {"epoch"}:
                writer.add_scalar(key, row[key], row["epoch"])
