"""Test runs on a cluster: a job on a local head that requires a token, and the script of the cluster launcher."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import pytest
import ray.autoscaler
import yaml

import raynas
from tests.support.finished_runs import SMALL

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent
CLUSTER = Path(__file__).parents[2] / "examples" / "cluster"
SHORT = ["training.epochs=1", "search.population=4", "search.generations=1"]


@dataclass(frozen=True)
class Head:
    """A head node on this machine. It refuses clients without its token."""

    address: str
    environment: dict[str, str]

    def submit(self, *command: str, token: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `ray job submit`. It waits for the end of the job and prints the job's output."""
        environment = dict(self.environment)
        if not token:
            environment |= {"RAY_AUTH_TOKEN": secrets.token_hex(32)}
        return subprocess.run(
            [str(BIN / "ray"), "job", "submit", "--address", self.address, "--", *command],
            env=environment,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


@pytest.fixture
def head(image_cache: Path, tmp_path: Path) -> Iterator[Head]:
    address = f"http://127.0.0.1:{(dashboard := free_port())}"
    without_ray = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    environment = {**without_ray, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    environment["PATH"] = f"{BIN}:{environment['PATH']}"
    start = ["start", "--head", "--block", "--num-cpus=2", f"--port={free_port()}", f"--dashboard-port={dashboard}"]
    start += [f"--dashboard-agent-listen-port={free_port()}", f"--ray-client-server-port={free_port()}"]
    start += ["--object-store-memory=104857600", "--disable-usage-stats"]
    with open(tmp_path / "head.log", "w") as log:
        process = subprocess.Popen(
            [str(BIN / "ray"), *start], env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_for_jobs(Head(address, environment), process, tmp_path / "head.log")
        yield Head(address, environment)
    finally:
        with suppress(subprocess.TimeoutExpired):
            process.terminate()
            process.wait(60)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def wait_for_jobs(head: Head, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the head accepts a job. Its dashboard answers well before the agent that starts jobs is ready."""
    deadline = time.monotonic() + 240
    while (job := head.submit("true")).returncode:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text() + job.stdout + job.stderr
        time.sleep(1)


def test_a_job_writes_its_results_to_the_run_folder(head: Head, tmp_path: Path) -> None:
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "storage" / "run"
    recipe.write_text(yaml.safe_dump({**SMALL, "method": "random"}))
    changes = [part for change in SHORT for part in ("--set", change)]
    refused = head.submit("raynas", "run", str(recipe), "--out", str(out), *changes, token=False)
    assert refused.returncode != 0
    assert not out.exists()
    job = head.submit("raynas", "run", str(recipe), "--out", str(out), *changes)
    assert job.returncode == 0, job.stdout + job.stderr
    assert str(out) in job.stdout
    outcome = raynas.load(out)
    assert len(outcome.table) == 4
    assert (out / "front.csv").read_text().count("\n") == len(outcome.front) + 1


def test_the_script_of_the_cluster_launcher_needs_no_other_file(tmp_path: Path, image_cache: Path) -> None:
    shutil.copy(CLUSTER / "search.py", tmp_path)
    changes = [part for change in SHORT for part in ("--set", change)]
    script = subprocess.run(
        [sys.executable, "search.py", "--out", "run", *changes],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert script.returncode == 0, script.stderr
    assert script.stdout.splitlines()[-1] == str(tmp_path / "run")
    assert {file.name for file in tmp_path.iterdir()} == {"search.py", "run"}
    assert len(raynas.load(tmp_path / "run").front) >= 1


def test_the_file_of_the_cluster_launcher_is_valid() -> None:
    schema = Path(ray.autoscaler.__file__).parent / "ray-schema.json"
    content = yaml.safe_load((CLUSTER / "cluster.yaml").read_text())
    jsonschema.validate(content, json.loads(schema.read_text()))
    assert any("RAY_AUTH_MODE=token" in command for command in content["head_start_ray_commands"])


def test_the_file_of_the_operator_describes_a_ray_cluster() -> None:
    content = yaml.safe_load((CLUSTER / "raycluster.yaml").read_text())
    assert (content["apiVersion"], content["kind"]) == ("ray.io/v1", "RayCluster")
    spec = content["spec"]
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    for group in groups:
        pod = group["template"]["spec"]
        mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
    assert len({container["image"] for group in groups for container in group["template"]["spec"]["containers"]}) == 1
    assert spec["rayVersion"] == ray.__version__
