"""Start Ray on this machine or join a cluster, and check that a run fits there."""

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
from search_spaces.errors import UserError, format_count

_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "60",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
_OWN_RAY_ENVIRONMENT = {
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_task_events_report_interval_ms": "0",
    "RAY_LOG_MONITOR_MAX_OPEN_FILES": "16",
    "RAY_subscriber_timeout_ms": "60000",
}
"""More settings for our own Ray. Its only node is never preempted, and nobody reads its metrics or its history.

With these settings each training needs one process less, and no process grows with every worker (`make soak`). Ray soon
closes the log files of workers that have ended.
"""
_DASHBOARD_ADDRESS = "RAY_API_SERVER_ADDRESS"
_OBJECT_STORE_BYTES = 256 * 2**20
_PATIENCE_SECONDS = 5


@dataclass(frozen=True)
class Cluster:
    """The Ray that a run computes on.

    Attributes:
        is_own: Ray was started on this machine for this run alone.
        discard_errors: discards what this process writes to stderr until our own Ray has stopped. When processes end in
            the middle of their work, Ray reports it there.
    """

    is_own: bool
    discard_errors: Callable[[], None] = lambda: None


def starts_own_ray() -> bool:
    """Return whether a run of this process would start Ray on this machine, instead of joining a cluster."""
    ray = sys.modules.get("ray")
    return not _joins_cluster() and not (ray is not None and ray.is_initialized())


def _joins_cluster() -> bool:
    return "RAY_ADDRESS" in os.environ or "RAY_JOB_ID" in os.environ


@contextmanager
def connect(verbose: bool = False) -> Iterator[Cluster]:
    """Join a cluster, or start Ray on this machine.

    The cluster is the one at RAY_ADDRESS, the one of this job, or the one that this process already uses. A Ray that
    is started here has its own token, so that nobody else can reach it. It is stopped at the end. Ray's output goes to
    stderr, because Ray reports dead workers on stdout, where results belong.
    """
    joins = _joins_cluster()
    for key, value in (_ENVIRONMENT if joins else {**_ENVIRONMENT, **_OWN_RAY_ENVIRONMENT}).items():
        os.environ.setdefault(key, value)
    if not joins and "ray" not in sys.modules:  # Ray reads these when it is imported
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    import ray

    _silence_ray(verbose)
    with redirect_stdout(sys.stderr):
        if ray.is_initialized():
            yield Cluster(is_own=False)
            return
        with _keep_sigterm_handler(), _refuse_dashboard_calls(joins):
            ray.init(
                address=None if joins else "local",
                include_dashboard=None if joins else False,
                object_store_memory=None if joins else _OBJECT_STORE_BYTES,
                runtime_env={"env_vars": {key: os.environ[key] for key in _ENVIRONMENT}} if joins else None,
                log_to_driver=verbose,
                logging_level=logging.INFO if verbose else logging.ERROR,
            )
        with ExitStack() as stderr:

            def discard_errors() -> None:
                if not joins and not verbose:
                    stderr.enter_context(_discarded_stderr())

            try:
                yield Cluster(not joins, discard_errors)
            finally:
                discard_errors()
                ray.shutdown()


@contextmanager
def _discarded_stderr() -> Iterator[None]:
    """Discard what this process writes to stderr, in any language.

    Ray's C++ code writes an error for each actor that is alive when our own Ray stops, whatever the level of its log.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)


@contextmanager
def _keep_sigterm_handler() -> Iterator[None]:
    """Restore the handler of SIGTERM after Ray's start, which replaces it."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


@contextmanager
def _refuse_dashboard_calls(joins: bool) -> Iterator[None]:
    """Make calls to the dashboard fail at once: our own Ray runs none, and Train would wait 12 s for it.

    The processes of a Ray that starts inside the context keep the address. This process does not.
    """
    with ExitStack() as stack:
        if not joins and _DASHBOARD_ADDRESS not in os.environ:
            os.environ[_DASHBOARD_ADDRESS] = "http://127.0.0.1:9"
            stack.callback(os.environ.pop, _DASHBOARD_ADDRESS)
        yield


def wait_for_resources(
    cluster: Cluster, scale: ProcessScale, processes: int, wait_minutes: float, say: Callable[[str], None]
) -> None:
    """Wait until the cluster can hold `processes` processes, each with the resources of `scale`.

    On a joined cluster the resources are requested at once, so that a cluster with an autoscaler begins to grow.

    Args:
        say: takes a line for the user if the cluster has to grow first.

    Raises:
        UserError: if our own Ray is too small, or if a joined cluster is too small for `wait_minutes`.
    """
    from ray.util.placement_group import placement_group, remove_placement_group

    resources = resources_per_process(scale)
    missing = missing_resources(processes, resources)
    if not resources or (cluster.is_own and not missing):
        return
    if cluster.is_own:
        raise UserError(
            f"This machine is too small: {missing}; lower scale.train.workers, scale.evaluate.actors, or "
            "their gpus, cpus or memory_gib."
        )
    placement = placement_group([resources] * processes)
    try:
        if not placement.wait(_PATIENCE_SECONDS):
            say(f"Waiting for the cluster to grow: {missing or _occupied_resources(processes, resources)}.")
            if not placement.wait(60 * wait_minutes):
                shortage = missing_resources(processes, resources) or _occupied_resources(processes, resources)
                raise UserError(
                    f"The cluster stayed too small for {format_count(wait_minutes, 'minute')}: {shortage}. Add "
                    "nodes, lower scale or raise scale.wait_minutes."
                )
    finally:
        remove_placement_group(placement)


def missing_resources(processes: int, resources: Mapping[str, float]) -> str:
    """Return a clause that names the resources which the whole cluster lacks; empty if it has enough.

    Args:
        resources: the resources of each process.
    """
    import ray

    cluster_resources: Callable[[], dict[str, float]] = ray.cluster_resources
    total, needs = cluster_resources(), {key: processes * value for key, value in resources.items()}
    if all(total.get(key, 0) >= need for key, need in needs.items()):
        return ""
    return f"{_need(processes)} {describe_resources(needs)}, and Ray has {_describe_nodes(needs)}"


def lacks_free_resources(cluster: Cluster, processes: int, resources: Mapping[str, float]) -> bool:
    """Return whether the cluster lacks free resources for more processes.

    Args:
        cluster: the cluster, which is joined or started by now.
        resources: the resources of each process.
    """
    import ray

    available_resources: Callable[[], dict[str, float]] = ray.available_resources
    free = available_resources()
    return any(free.get(key, 0) < processes * value for key, value in resources.items())


def _occupied_resources(processes: int, resources: Mapping[str, float]) -> str:
    """Return a clause for a cluster whose resources are occupied, or spread over nodes too small for one process."""
    each, nodes = describe_resources(resources), _describe_nodes(resources)
    return f"{_need(processes)} {each} each beside other users' processes, on {nodes}"


def _need(processes: int) -> str:
    return f"{format_count(processes, 'process')} {'needs' if processes == 1 else 'need'}"


def _describe_nodes(keys: Iterable[str]) -> str:
    """Return the resources of each living node in words, such as `2 nodes with 8 CPUs`."""
    import ray

    nodes: Callable[[], list[dict[str, Any]]] = ray.nodes
    alive = [node["Resources"] for node in nodes() if node["Alive"]]
    counted = Counter(describe_resources({key: node.get(key, 0.0) for key in keys}) for node in alive)
    groups = [f"{format_count(number, 'node')} with {words}" for words, number in counted.items()]
    return " and ".join(groups) or "no nodes"


def check_folder_is_shared(cluster: Cluster, folder: RunFolder) -> None:
    """Check that every node of a joined cluster sees this run folder. Nodes that leave meanwhile are skipped.

    Raises:
        UserError: if a node does not see the folder: workers there would lose their files.
    """
    if cluster.is_own or not folder.is_local:
        return
    import ray
    from ray.exceptions import NodeDiedError, TaskUnschedulableError, WorkerCrashedError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    own_node = ray.get_runtime_context().get_node_id()
    nodes: Callable[[], list[dict[str, Any]]] = ray.nodes
    others = {node["NodeID"]: node["NodeName"] for node in nodes() if node["Alive"] and node["NodeID"] != own_node}
    read_lock = ray.remote(_read_lock)
    answers = [
        read_lock.options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(
            folder.uri
        )
        for node in others
    ]
    own_lock = _read_lock(folder.uri)
    for name, answer in zip(others.values(), answers, strict=True):
        try:
            lock = ray.get(answer)
        except (NodeDiedError, TaskUnschedulableError, WorkerCrashedError):
            continue
        if lock != own_lock:
            raise UserError(
                f"The node {name} does not see {folder.uri}. Set --out to a folder that all nodes share, or to a URI "
                "such as s3://bucket/run."
            )


def _read_lock(folder: str) -> bytes | None:
    """Return the bytes of the run's lock file, which identify the run; None if it cannot be read."""
    try:
        return (Path(folder) / "lock.json").read_bytes()
    except OSError:
        return None


def _silence_ray(verbose: bool) -> None:
    if not verbose:
        for name in ("ray", "ray.tune", "ray.train", "ray.data"):
            logging.getLogger(name).setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module="ray")
