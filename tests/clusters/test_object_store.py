"""A run whose folder is a bucket: on moto's S3 server on this machine, with nothing written elsewhere."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
import yaml
from moto.server import ThreadedMotoServer

import raynas
from raynas.storage.run_folder import RunFolder
from tests.raynas.conftest import SMALL

pytestmark = pytest.mark.slow


@pytest.fixture
def bucket() -> Iterator[str]:
    """An empty bucket, reached by what the environment says, as on a cluster."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for key, value in (("ACCESS_KEY_ID", "any"), ("SECRET_ACCESS_KEY", "any"), ("DEFAULT_REGION", "us-east-1")):
            patch.setenv(f"AWS_{key}", value)
        boto3.client("s3").create_bucket(Bucket="runs")
        yield "s3://runs"
    server.stop()


def finished(run: str, folder: Path) -> raynas.Outcome:
    """What `raynas run` wrote, on a Ray of its own: its workers find the bucket by the environment, too."""
    (folder / "recipe.yaml").write_text(yaml.safe_dump({**SMALL, "method": "random"}))
    changes = [part for change in ("training.epochs=1", "search.generations=1") for part in ("--set", change)]
    command = [str(Path(sys.executable).parent / "raynas"), "run", "recipe.yaml", "--out", run, *changes]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=400, check=False)
    assert ran.returncode == 0, ran.stderr
    assert run in ran.stdout
    return raynas.load(run)


def test_a_run_in_a_bucket_is_finished_read_and_replayed(bucket: str, tmp_path: Path) -> None:
    run = f"{bucket}/deep/run"
    outcome = finished(run, tmp_path)
    assert len(outcome.front) >= 1
    assert {"recipe.yaml", "study.json", "front.csv", "outcome.json"} <= set(RunFolder(run).names())
    written = RunFolder(run).read("study.json")
    assert finished(run, tmp_path).table.equals(outcome.table)
    assert RunFolder(run).read("study.json") == written, "nothing was done again"
    assert {file.name for file in tmp_path.iterdir()} == {"recipe.yaml"}
