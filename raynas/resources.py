"""Where a run computes: a Ray of its own on this machine or the cluster that it is in; and whether it fits there."""

from __future__ import annotations

import logging
import os
import secrets
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raynas.recipe import ScaleSettings
from raynas.run_folder import RunFolder
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
_OBJECT_STORE_BYTES = 256 * 2**20
_PATIENCE_SECONDS = 5


@dataclass(frozen=True)
class Cluster:
    """The Ray that a run computes on; `ours` if it was started for the run alone."""

    ours: bool


@contextmanager
def connected(verbose: bool = False) -> Iterator[Cluster]:
    """Join the cluster that RAY_ADDRESS names or that this process is a job of or already uses; else start Ray here.

    A Ray that is started here has a token of its own, so that nobody else can reach it, and is stopped at the end.
    """
    for key, value in _ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    joins = "RAY_ADDRESS" in os.environ or "RAY_JOB_ID" in os.environ
    if not joins and "ray" not in sys.modules:  # Ray reads these when it is imported
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    import ray

    _silence(verbose)
    if ray.is_initialized():
        yield Cluster(ours=False)
        return
    ray.init(
        address=None if joins else "local",
        include_dashboard=None if joins else False,
        object_store_memory=None if joins else _OBJECT_STORE_BYTES,
        runtime_env={"env_vars": _ENVIRONMENT} if joins else None,
        log_to_driver=verbose,
        logging_level=logging.INFO if verbose else logging.ERROR,
    )
    try:
        yield Cluster(ours=not joins)
    finally:
        ray.shutdown()


def await_room(cluster: Cluster, scale: ScaleSettings, processes: int, cpus: float, say: Callable[[str], None]) -> None:
    """Return when the cluster can hold so many processes of so many CPUs and `scale.gpus` GPUs each.

    On a cluster that was joined they are asked for at once, so that one that grows on demand begins to grow.

    Raises:
        UserError: if a Ray that was started here is too small, or a joined cluster stays so for `scale.wait_minutes`.
    """
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group

    bundle = {key: float(value) for key, value in {"CPU": cpus, "GPU": scale.gpus}.items() if value}
    resources: Callable[[], dict[str, float]] = ray.cluster_resources
    has = resources()
    needs = {key: processes * value for key, value in bundle.items()}
    lacking = [f"{needs[key]:g} {key}s, has {has.get(key, 0):g}" for key in needs if has.get(key, 0) < needs[key]]
    if not bundle or (cluster.ours and not lacking):
        return
    sentence = f"{processes} processes need {' and '.join(lacking) or 'room beside what others run'}"
    if cluster.ours:
        raise UserError(
            f"This machine is too small: {sentence}; lower scale.train_workers, scale.evaluators or scale.gpus."
        )
    room = placement_group([bundle] * processes)
    try:
        if not room.wait(_PATIENCE_SECONDS):
            say(f"Waiting for the cluster to grow: {sentence}.")
            if not room.wait(60 * scale.wait_minutes):
                raise UserError(f"The cluster stayed too small for {scale.wait_minutes:g} minutes: {sentence}.")
    finally:
        remove_placement_group(room)


def refuse_unshared(cluster: Cluster, folder: RunFolder) -> None:
    """See that every node of a joined cluster finds this run under the run folder's path.

    Raises:
        UserError: if the folder lies on this machine alone, where workers on other nodes would lose what they write.
    """
    if cluster.ours or not folder.is_local:
        return
    import ray
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
    for name, theirs in zip(others.values(), ray.get(seen), strict=True):
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
