"""Runs in MLflow and Weights & Biases: searches by Ray's own callbacks, training by its rows of metrics an epoch.

Both find their server and their credentials in the environment, as everywhere (`MLFLOW_TRACKING_URI`, `WANDB_MODE`).
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
"""The experiment, or the project, that runs are listed under."""
Rows = Iterable[Mapping[str, Any]]


def check_trackers_installed(trackers: Sequence[Tracker]) -> None:
    """Raises UserError if a tracker's package is not installed."""
    for tracker in trackers:
        if find_spec(tracker) is None:
            raise UserError(f"track: {tracker} needs its package: pip install 'raynas[tracking]'.")


def search_callbacks(trackers: Sequence[Tracker], run: str, step: str) -> list[Callback]:
    """Ray's callbacks, which log every generation of a search's or a sweep's trials."""
    if not trackers:
        return []
    about = {"run": run, "step": step}
    kinds: dict[Tracker, Callable[[], Callback]] = {
        "mlflow": lambda: _mlflow_callback(about),
        "wandb": lambda: _wandb_callback(about),
    }
    return [kinds[tracker]() for tracker in trackers]


def _mlflow_callback(about: dict[str, str]) -> Callback:
    """Ray's; it is told which server, as left alone it forgets what the environment says."""
    import mlflow
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    tracking, registry = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    return MLflowLoggerCallback(tracking, registry_uri=registry, experiment_name=PROJECT, tags=about)


def _wandb_callback(about: dict[str, str]) -> Callback:
    """Ray's, whose actors are told what this process's environment says, and would write into Ray's own folders."""
    from ray.air.integrations.wandb import WandbLoggerCallback

    here: dict[str, Any] = {"dir": os.environ.get("WANDB_DIR", os.getcwd()), "mode": os.environ.get("WANDB_MODE")}
    return WandbLoggerCallback(project=PROJECT, group=about["run"], excludes=["config"], config=about, **here)


def track_training(trackers: Sequence[Tracker], run: str, step: str, history: Rows) -> None:
    """Log a training's metrics, epoch by epoch, once it has ended."""
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

    about = {"run": run, "step": step}
    with wandb.init(project=PROJECT, group=run, name=step, config=about, reinit="create_new") as logged:
        for row in history:
            logged.log(dict(row), step=int(row["epoch"]))


def write_curves(folder: RunFolder, step: str, history: Iterable[Mapping[str, Any]]) -> None:
    """Write each metric of each epoch; only a local run folder has curves, as TensorBoard's writer appends to files."""
    if not folder.is_local:
        return
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(Path(folder.uri) / "metrics" / step)) as writer:
        for row in history:
            for key in row.keys() - {"epoch"}:
                writer.add_scalar(key, row[key], row["epoch"])
