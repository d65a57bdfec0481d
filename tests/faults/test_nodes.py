"""A run waits for its cluster to grow, and continues after the loss of its only node, as spot nodes are lost.

The cluster is Ray's own for tests: each node is a raylet on this machine. The driver runs on a head node without
resources, so every process that computes is lost with the other node.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ray._private.node import Node
from ray.cluster_utils import Cluster

from tests.faults.runs import Condition, Result, ended, kill_living, noted_processes, wait_until
from tests.faults.test_kills import Commands, attempts, searching, training

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
TRAIN_WAITS_SECONDS = 2
"""How long Ray Train waits for a worker's resources before it counts a failure. The node stays away for longer."""
CHECK_FOLDER = """
import sys
from raynas.cluster.ray_session import connect, check_folder_is_shared
from raynas.storage.run_folder import RunFolder

with connect() as cluster:
    print("joined", file=sys.__stdout__, flush=True)
    input()
    check_folder_is_shared(cluster, RunFolder(sys.argv[1]))
print("checked", flush=True)
"""


@pytest.fixture
def nodes() -> Iterator[Cluster]:
    """A cluster with a head node alone, which has neither CPUs nor memory."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "memory": 1})
    stop: Callable[[], None] = cluster.shutdown
    yield cluster
    stop()


def raylet_pid(node: Node) -> int:
    pid: int = node.all_processes["raylet"][0].process.pid
    return pid


def lose(nodes: Cluster, node: Node, out: Path) -> None:
    """Kill a node and all processes of the run there at once."""
    os.kill(raylet_pid(node), signal.SIGKILL)
    kill_living(noted_processes(out))
    nodes.remove_node(node, allow_graceful=False)


def has_logged(sentence: str) -> Condition:
    """Return the condition that the log of the run contains a sentence."""
    return lambda out: (out / "log.jsonl").exists() and sentence in (out / "log.jsonl").read_text()


def test_a_run_continues_after_the_loss_of_its_node(
    command: Commands, undisturbed: Result, nodes: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    monkeypatch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", str(TRAIN_WAITS_SECONDS))
    run = command("nodes", "scale.train.memory_gib=0.1", "scale.evaluate.memory_gib=0.1")
    process = run.start()
    with ended(process):

        def until(condition: Condition) -> None:
            wait_until(lambda: condition(run.out), process)

        until(has_logged("Waiting for the cluster to grow: 1 process needs 1 CPU"))
        node = nodes.add_node(num_cpus=2)
        until(training("supernet"))
        lose(nodes, node, run.out)
        until(has_logged("The cluster has become too small, and training waits: 1 process needs 1 CPU"))
        time.sleep(3 * TRAIN_WAITS_SECONDS)
        node = nodes.add_node(num_cpus=2)
        until(searching("search-2"))
        lose(nodes, node, run.out)
        nodes.add_node(num_cpus=2)
        output = process.communicate(timeout=900)
    assert process.returncode == 0, output
    assert set(attempts(run.out).values()) == {1}, "the driver continues in its first attempt"
    Result.read(run.out).assert_equal(undisturbed)


def test_a_node_that_dies_during_the_check_of_the_run_folder_is_skipped(
    nodes: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    command = [sys.executable, "-c", CHECK_FOLDER, str(tmp_path)]
    process = subprocess.Popen(
        command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with ended(process):
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "joined\n"
        node = nodes.add_node(num_cpus=2)
        os.kill(raylet_pid(node), signal.SIGSTOP)
        process.stdin.write("\n")
        process.stdin.flush()
        time.sleep(2)
        os.kill(raylet_pid(node), signal.SIGKILL)
        out, err = process.communicate(timeout=300)
    assert out == "checked\n", err
