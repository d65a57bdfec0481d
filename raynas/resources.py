"""Where a run computes: a Ray of its own on this machine or the cluster that it is in; and whether it fits there."""

from __future__ import annotations

import logging
import os
import secrets
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from raynas.recipe import ScaleSettings
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


def await_room(cluster: Cluster, scale: ScaleSettings, workers: int, say: Callable[[str], None]) -> None:
    """Return when the cluster can hold this many training workers; a cluster that was joined may still be growing.

    Raises:
        UserError: if a Ray that was started here is too small, or a joined cluster stays so for `scale.wait_minutes`.
    """
    import ray

    needs = {"CPU": float(workers), **({"GPU": workers * scale.gpus} if scale.gpus else {})}
    deadline = time.monotonic() + 60 * scale.wait_minutes
    said = False
    while True:
        has: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        lacking = [f"{needs[key]:g} {key}s, has {has.get(key, 0):g}" for key in needs if has.get(key, 0) < needs[key]]
        if not lacking:
            return
        sentence = f"{workers} training workers need {' and '.join(lacking)}"
        if cluster.ours:
            raise UserError(f"This machine is too small: {sentence}; lower scale.train_workers or scale.gpus.")
        if time.monotonic() > deadline:
            raise UserError(f"The cluster stayed too small for {scale.wait_minutes:g} minutes: {sentence}.")
        if not said:
            say(f"Waiting for the cluster to grow: {sentence}.")
            said = True
        time.sleep(2)


def _silence(verbose: bool) -> None:
    if not verbose:
        for name in ("ray", "ray.tune", "ray.train", "ray.data"):
            logging.getLogger(name).setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module="ray")
