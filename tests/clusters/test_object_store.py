"""Test a run whose folder is a bucket of moto's local S3 server. The run writes no other files."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
import yaml
from moto.server import ThreadedMotoServer

import raynas
from raynas.storage.run_folder import RunFolder
from tests.support.command import run_raynas
from tests.support.finished_runs import SMALL

pytestmark = pytest.mark.slow


@pytest.fixture
def bucket() -> Iterator[str]:
    """Yield an empty bucket. The environment holds its address and keys, as on a cluster."""
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


def run_to_end(run: str, folder: Path) -> raynas.Outcome:
    """Return the outcome of `raynas run`. Its workers also find the bucket by the environment."""
    (folder / "recipe.yaml").write_text(yaml.safe_dump({**SMALL, "method": "random"}))
    changes = [part for change in ("training.epochs=1", "search.generations=1") for part in ("--set", change)]
    process = run_raynas(folder, "run", "recipe.yaml", "--out", run, *changes)
    assert process.returncode == 0, process.stderr
    assert run in process.stdout
    return raynas.load(run)


def test_a_run_in_a_bucket_ends_and_is_read_again(bucket: str, tmp_path: Path) -> None:
    run = f"{bucket}/deep/run"
    outcome = run_to_end(run, tmp_path)
    assert len(outcome.front) >= 1
    assert {"recipe.yaml", "study.json", "front.csv", "outcome.json"} <= set(RunFolder(run).names())
    study_file = RunFolder(run).read("study.json")
    assert run_to_end(run, tmp_path).table.equals(outcome.table)
    assert RunFolder(run).read("study.json") == study_file, "no step ran again"
    assert {file.name for file in tmp_path.iterdir()} == {"recipe.yaml"}
