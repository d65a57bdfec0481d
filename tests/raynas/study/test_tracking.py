"""A run is also logged to MLflow and to Weights & Biases, both on this machine alone."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml

import raynas
from raynas.storage.run_folder import RunFolder
from raynas.study import tracking
from tests.support.finished_runs import SMALL

pytestmark = pytest.mark.slow


def test_searches_and_trainings_are_logged(
    standalone_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    out = tmp_path / "run"
    outcome = raynas.run({**SMALL, "track": ["mlflow", "wandb"]}, out)
    table = outcome.table.drop(columns="seconds")
    assert table.equals(raynas.load(standalone_run).table[table.columns]), "the run without trackers has this table"
    logged = mlflow.search_runs(experiment_names=[tracking.PROJECT])
    assert set(logged["tags.run"]) == {str(out)}
    steps = logged.set_index("tags.step")
    assert steps.loc["final", "metrics.best"] == pytest.approx(outcome.table["top1"].max())
    history = RunFolder(out).read_json("steps/01-supernet/history.json")["epochs"]
    assert steps.loc["supernet", "metrics.loss"] == pytest.approx(history[-1]["loss"])
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 2


def test_a_tracker_without_its_package_is_refused(tmp_path: Path) -> None:
    """The command runs in a Python that has all installed packages except MLflow."""
    (tmp_path / "packages").mkdir()
    for package in Path(sysconfig.get_path("purelib")).iterdir():
        if not package.name.startswith("mlflow"):
            (tmp_path / "packages" / package.name).symlink_to(package)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({**SMALL, "track": ["mlflow"]}))
    process = subprocess.run(
        [sys.executable, "-S", "-c", "from raynas.cli.main import main; main()", "run", "recipe.yaml"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path / 'packages'}:{Path(__file__).parents[3]}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr == "track: mlflow needs its package: pip install 'raynas[tracking]'.\n"
