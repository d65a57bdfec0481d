"""A run that is also logged to MLflow and to Weights & Biases, each on this machine alone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import raynas
from raynas import tracking
from raynas.run_folder import RunFolder
from search_spaces import UserError
from tests.raynas.conftest import SMALL

pytestmark = pytest.mark.slow


def test_searches_and_trainings_are_logged(cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    out = tmp_path / "run"
    plain = raynas.run(SMALL, tmp_path / "plain")
    outcome = raynas.run({**SMALL, "track": ["mlflow", "wandb"]}, out)
    assert outcome.table.drop(columns="seconds").equals(plain.table.drop(columns="seconds"))
    logged = mlflow.search_runs(experiment_names=[tracking.PROJECT])
    assert set(logged["tags.run"]) == {str(out)}
    steps = logged.set_index("tags.step")
    assert steps.loc["final", "metrics.best"] == pytest.approx(outcome.table["top1"].max())
    history = RunFolder(out).read_json("steps/01-supernet/history.json")["epochs"]
    assert steps.loc["supernet", "metrics.loss"] == pytest.approx(history[-1]["loss"])
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 2


def test_a_tracker_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python looks for it where no package is."""
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "mlflow", raising=False)
    with pytest.raises(UserError, match=r"pip install 'raynas\[tracking\]'"):
        tracking.refuse_missing(["mlflow"])
