"""A run whose folder is a bucket: on moto's S3 server on this machine, with nothing written elsewhere."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

import raynas
from raynas.run_folder import RunFolder
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


def test_a_run_in_a_bucket_is_finished_read_and_replayed(bucket: str, tmp_path: Path) -> None:
    before = os.getcwd()
    os.chdir(tmp_path)
    try:
        changes = ["training.epochs=1", "search.generations=1"]
        outcome = raynas.run({**SMALL, "method": "random"}, f"{bucket}/deep/run", changes)
        assert outcome.run == f"{bucket}/deep/run"
        read = raynas.load(outcome.run)
        assert read.table.equals(outcome.table)
        assert len(read.front) >= 1
        assert {"recipe.yaml", "study.json", "front.csv", "outcome.json"} <= set(RunFolder(outcome.run).names())
        written = RunFolder(outcome.run).read("study.json")
        again = raynas.run({**SMALL, "method": "random"}, outcome.run, changes)
        assert again.table.equals(outcome.table)
        assert RunFolder(outcome.run).read("study.json") == written, "nothing was done again"
        assert list(tmp_path.iterdir()) == []
    finally:
        os.chdir(before)
