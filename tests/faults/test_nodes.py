"""A cluster that grows while a run waits for it, and loses its only node in training and in a search, as spot nodes go.

The cluster is one of Ray's own for tests: each node is a raylet on this machine. The driver sits on a head that has
nothing to compute with, so whatever computes dies with the other node.
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

from tests.faults.runs import Result, living, reaped, wait_until
from tests.faults.test_kills import Commands, attempts, searching, training

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
TRAIN_WAITS_SECONDS = 2
"""How long Ray Train waits for a worker's place before it counts a failure; a node stays away for several of them."""
ASK = """
import sys
from raynas.cluster.ray_session import connect, check_folder_is_shared
from raynas.storage.run_folder import RunFolder

with connect() as cluster:
    print("joined", file=sys.__stdout__, flush=True)
    input()
    check_folder_is_shared(cluster, RunFolder(sys.argv[1]))
print("went on", flush=True)
"""


@pytest.fixture
def nodes() -> Iterator[Cluster]:
    """A head alone, with neither processors nor memory for anybody."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "memory": 1})
    stop: Callable[[], None] = cluster.shutdown
    yield cluster
    stop()


def raylet(node: Node) -> int:
    number: int = node.all_processes["raylet"][0].process.pid
    return number


def lose(nodes: Cluster, node: Node, out: Path) -> None:
    """A node goes, and with it whatever the run has there, all at once."""
    os.kill(raylet(node), signal.SIGKILL)
    for number in living(out):
        os.kill(number, signal.SIGKILL)
    nodes.remove_node(node, allow_graceful=False)


def said(sentence: str) -> Callable[[Path], bool]:
    return lambda out: (out / "log.jsonl").exists() and sentence in (out / "log.jsonl").read_text()


def test_a_node_is_taken_away_and_comes_back(
    command: Commands, undisturbed: Result, nodes: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    monkeypatch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", str(TRAIN_WAITS_SECONDS))
    run = command("nodes", "scale.memory_gib=0.1")
    process = run.start()
    with reaped(process):

        def until(moment: Callable[[Path], bool]) -> None:
            wait_until(lambda: moment(run.out), process)

        until(said("Waiting for the cluster to grow: 1 processes need 1 CPU"))
        node = nodes.add_node(num_cpus=2)
        until(training("supernet"))
        lose(nodes, node, run.out)
        until(said("The cluster has become too small, and training waits: 1 processes need 1 CPU"))
        time.sleep(3 * TRAIN_WAITS_SECONDS)
        node = nodes.add_node(num_cpus=2)
        until(searching("search-2"))
        lose(nodes, node, run.out)
        nodes.add_node(num_cpus=2)
        printed = process.communicate(timeout=900)
    assert process.returncode == 0, printed
    assert set(attempts(run.out).values()) == {1}, "the driver went on"
    Result.of(run.out).must_equal(undisturbed)


def test_a_node_that_goes_while_it_is_asked_what_it_sees_does_not_end_the_run(
    nodes: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    ask = [sys.executable, "-c", ASK, str(tmp_path)]
    process = subprocess.Popen(ask, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with reaped(process):
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "joined\n"
        node = nodes.add_node(num_cpus=2)
        os.kill(raylet(node), signal.SIGSTOP)
        process.stdin.write("\n")
        process.stdin.flush()
        time.sleep(2)
        os.kill(raylet(node), signal.SIGKILL)
        printed, wrong = process.communicate(timeout=300)
    assert printed == "went on\n", wrong
