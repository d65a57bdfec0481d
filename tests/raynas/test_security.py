"""No file that raynas reads runs code, and a Ray of our own refuses strangers."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raynas.recipe.recipe import Recipe, read_run_recipe
from raynas.results.outcome import load
from raynas.storage.run_folder import DamagedFile, RunFolder
from raynas.training import checkpoints
from search_spaces import LatencyTable
from search_spaces.errors import UserError
from search_spaces.user_space import SpaceFile

START = """
import json, os, subprocess, sys
from raynas.cluster.ray_session import connect
STRANGER = "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False); print('joined')"
with connect():
    import ray
    from ray._private.worker import get_dashboard_url
    dashboard = get_dashboard_url()
    print("This goes to stderr.")
    assert ray.get(ray.remote(lambda: 1).remote()) == 1
    command = [sys.executable, "-c", STRANGER, ray.get_runtime_context().gcs_address]
    own = {key: os.environ[key] for key in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN") if key in os.environ}
    others = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    joined = {}
    wrong = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
    for name, token in {"own": own, "wrong": wrong, "none": {}}.items():
        stranger = subprocess.Popen(command, env={**others, **token}, stdout=subprocess.PIPE, text=True)
        try:
            joined[name] = "joined" in stranger.communicate(timeout=30)[0]
        except subprocess.TimeoutExpired:  # Ray tries again and again
            joined[name] = False
            stranger.kill()
access = {"token": os.environ["RAY_AUTH_TOKEN"], "mode": os.environ["RAY_AUTH_MODE"]}
print(json.dumps({**access, "dashboard": dashboard, "joined": joined}))
"""


class Malicious:
    """An object that writes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self._mark,)


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "JSON": ("a.json", lambda file: RunFolder(file.parent).read_json(file.name)),
    "a table": ("a.parquet", lambda file: RunFolder(file.parent).read_table(file.name)),
    "tensors": ("a.safetensors", lambda file: RunFolder(file.parent).read_tensors(file.name)),
    "a run's recipe": ("recipe.yaml", lambda file: read_run_recipe(RunFolder(file.parent))),
    "a run": ("recipe.yaml", lambda file: load(file.parent)),
    "a recipe": ("recipe.yaml", lambda file: Recipe.read(str(file))),
    "a user space": ("space.yaml", lambda file: SpaceFile.read(file).space()),
    "a latency table": ("table.csv", LatencyTable.read),
    "a latency table in YAML": ("table.yaml", LatencyTable.read),
}


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_refuses_a_pickle(tmp_path: Path, reader: str) -> None:
    mark, (name, read) = tmp_path / "mark", READERS[reader]
    (tmp_path / name).write_bytes(pickle.dumps(Malicious(mark)))
    with pytest.raises((DamagedFile, UserError)):
        read(tmp_path / name)
    assert not mark.exists()


def test_a_pickle_among_the_checkpoints_is_skipped(tmp_path: Path) -> None:
    mark, file = tmp_path / "mark", checkpoints.name(1, 0, 1)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / checkpoints.path(file)).write_bytes(pickle.dumps(Malicious(mark)))
    assert checkpoints.newest(RunFolder(tmp_path)) == (None, [file])
    assert not mark.exists()


@pytest.mark.slow
def test_our_own_ray_demands_a_token_that_lies_in_no_file(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    environment["HOME"] = str(tmp_path)
    command = [sys.executable, "-c", START]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    output = json.loads(process.stdout)
    assert output["mode"] == "token"
    assert len(output["token"]) == 64
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert not any(output["token"].encode() in file.read_bytes() for file in written)
    assert not output["dashboard"], "our own Ray has no dashboard that a stranger could open"
    assert output["joined"] == {"own": True, "wrong": False, "none": False}
