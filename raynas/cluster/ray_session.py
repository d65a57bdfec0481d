"""Where a run computes: a Ray of its own on this machine or the cluster that it is in; and whether it fits there."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raynas.cluster.devices import describe_resources, resources_per_process
from raynas.recipe.settings import ProcessScale
from raynas.storage.run_folder import RunFolder
from search_spaces.errors import UserError

_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "60",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
_OF_OUR_OWN = {
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_task_events_report_interval_ms": "0",
    "RAY_LOG_MONITOR_MAX_OPEN_FILES": "16",
    "RAY_subscriber_timeout_ms": "60000",
}
"""No node of this machine alone is taken away, and nobody reads its metrics or its history: a process less a training,
and none that grows with every worker (`make soak`). What was open for workers that have ended is soon closed."""
_DASHBOARD = "RAY_API_SERVER_ADDRESS"
_OBJECT_STORE_BYTES = 256 * 2**20
_PATIENCE_SECONDS = 5


@dataclass(frozen=True)
class Cluster:
    """The Ray that a run computes on; `ours` if it was started for the run alone."""

    ours: bool


@contextmanager
def connect(verbose: bool = False) -> Iterator[Cluster]:
    """Join the cluster that RAY_ADDRESS names or that this process is a job of or already uses; else start Ray here.

    A Ray that is started here has a token of its own, so that nobody else can reach it, and is stopped at the end.
    What Ray prints meanwhile goes to stderr: it reports workers that died on stdout, where results belong.
    """
    joins = "RAY_ADDRESS" in os.environ or "RAY_JOB_ID" in os.environ
    for key, value in (_ENVIRONMENT if joins else {**_ENVIRONMENT, **_OF_OUR_OWN}).items():
        os.environ.setdefault(key, value)
    if not joins and "ray" not in sys.modules:  # Ray reads these when it is imported
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    import ray

    _silence(verbose)
    with redirect_stdout(sys.stderr):
        if ray.is_initialized():
            yield Cluster(ours=False)
            return
        with _own_signals(), _without_dashboard(joins):
            ray.init(
                address=None if joins else "local",
                include_dashboard=None if joins else False,
                object_store_memory=None if joins else _OBJECT_STORE_BYTES,
                runtime_env={"env_vars": {key: os.environ[key] for key in _ENVIRONMENT}} if joins else None,
                log_to_driver=verbose,
                logging_level=logging.INFO if verbose else logging.ERROR,
            )
        try:
            yield Cluster(ours=not joins)
        finally:
            ray.shutdown()


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray takes SIGTERM for itself when it starts; whoever started this process keeps it."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


@contextmanager
def _without_dashboard(joins: bool) -> Iterator[None]:
    """What asks the dashboard, which a Ray of our own has not, is refused at once: Train would wait 12 s for it.

    The processes of the Ray that is started meanwhile keep the address; this one does not.
    """
    with ExitStack() as stack:
        if not joins and _DASHBOARD not in os.environ:
            os.environ[_DASHBOARD] = "http://127.0.0.1:9"
            stack.callback(os.environ.pop, _DASHBOARD)
        yield


def wait_for_resources(
    cluster: Cluster, scale: ProcessScale, processes: int, wait_minutes: float, say: Callable[[str], None]
) -> None:
    """Return when the cluster can hold this many processes, each with the resources of `scale`.

    On a cluster that was joined they are asked for at once, so that one that grows on demand begins to grow.

    Raises:
        UserError: if a Ray that was started here is too small, or a joined cluster stays so for `wait_minutes`.
    """
    from ray.util.placement_group import placement_group, remove_placement_group

    asked = resources_per_process(scale)
    missing = missing_resources(processes, asked)
    if not asked or (cluster.ours and not missing):
        return
    if cluster.ours:
        raise UserError(
            f"This machine is too small: {missing}; lower scale.train.workers, scale.evaluate.actors, or "
            "their gpus, cpus or memory_gib."
        )
    room = placement_group([asked] * processes)
    try:
        if not room.wait(_PATIENCE_SECONDS):
            say(f"Waiting for the cluster to grow: {missing or _room_beside(processes, asked)}.")
            if not room.wait(60 * wait_minutes):
                sentence = missing_resources(processes, asked) or _room_beside(processes, asked)
                raise UserError(f"The cluster stayed too small for {wait_minutes:g} minutes: {sentence}.")
    finally:
        remove_placement_group(room)


def missing_resources(processes: int, asked: Mapping[str, float]) -> str:
    """What so many processes need of Ray that it has not in all, and what each node has; nothing if it is there."""
    import ray

    total: Callable[[], dict[str, float]] = ray.cluster_resources
    has, needs = total(), {key: processes * value for key, value in asked.items()}
    if all(has.get(key, 0) >= need for key, need in needs.items()):
        return ""
    return f"{processes} processes need {describe_resources(needs)}, and there are {_nodes(needs)}"


def _room_beside(processes: int, asked: Mapping[str, float]) -> str:
    """The same where all is there, but taken, or no node has enough for one process."""
    return f"{processes} processes need {describe_resources(asked)} each beside what others run, on {_nodes(asked)}"


def _nodes(resources: Iterable[str]) -> str:
    """What each living node has of some resources."""
    import ray

    nodes: Callable[[], list[dict[str, Any]]] = ray.nodes
    alive = [node["Resources"] for node in nodes() if node["Alive"]]
    counted = Counter(describe_resources({key: node.get(key, 0.0) for key in resources}) for node in alive)
    each = [f"{count} node{'s' * (count > 1)} with {has}" for has, count in counted.items()]
    return " and ".join(each) or "no nodes"


def check_folder_is_shared(cluster: Cluster, folder: RunFolder) -> None:
    """See that every node of a joined cluster finds this run under the run folder's path; one that goes is passed over.

    Raises:
        UserError: if the folder lies on this machine alone, where workers on other nodes would lose what they write.
    """
    if cluster.ours or not folder.is_local:
        return
    import ray
    from ray.exceptions import NodeDiedError, TaskUnschedulableError, WorkerCrashedError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = ray.get_runtime_context().get_node_id()
    nodes: Callable[[], list[dict[str, Any]]] = ray.nodes
    others = {node["NodeID"]: node["NodeName"] for node in nodes() if node["Alive"] and node["NodeID"] != here}
    look = ray.remote(_lock_seen_in)
    seen = [
        look.options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(
            folder.uri
        )
        for node in others
    ]
    mine = _lock_seen_in(folder.uri)
    for name, answer in zip(others.values(), seen, strict=True):
        try:
            theirs = ray.get(answer)
        except (NodeDiedError, TaskUnschedulableError, WorkerCrashedError):
            continue
        if theirs != mine:
            raise UserError(
                f"The node {name} does not see {folder.uri}: give a folder that all nodes share, or a URI such as "
                "s3://bucket/run, with --out."
            )


def _lock_seen_in(folder: str) -> bytes | None:
    """The bytes of the run's lock, which tell this run from any other; None where there are none."""
    try:
        return (Path(folder) / "lock.json").read_bytes()
    except OSError:
        return None


def _silence(verbose: bool) -> None:
    if not verbose:
        for name in ("ray", "ray.tune", "ray.train", "ray.data"):
            logging.getLogger(name).setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module="ray")
