"""Nothing that is read runs code, and a Ray of our own is closed to others."""

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
        except subprocess.TimeoutExpired:  # Ray asks again and again
            joined[name] = False
            stranger.kill()
told = {"token": os.environ["RAY_AUTH_TOKEN"], "mode": os.environ["RAY_AUTH_MODE"]}
print(json.dumps({**told, "dashboard": dashboard, "joined": joined}))
"""


class Malicious:
    """Leaves a mark when it is unpickled."""

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
    "an own space": ("space.yaml", lambda file: SpaceFile.read(file).space()),
    "a latency table": ("table.csv", LatencyTable.read),
    "a latency table in YAML": ("table.yaml", LatencyTable.read),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_pickle_is_refused_by_whatever_reads(tmp_path: Path, reader: str) -> None:
    mark, (name, read) = tmp_path / "mark", READERS[reader]
    (tmp_path / name).write_bytes(pickle.dumps(Malicious(mark)))
    with pytest.raises((DamagedFile, UserError)):
        read(tmp_path / name)
    assert not mark.exists()


def test_a_pickle_among_the_checkpoints_is_passed_over(tmp_path: Path) -> None:
    mark, file = tmp_path / "mark", checkpoints.name(1, 0, 1)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / checkpoints.path(file)).write_bytes(pickle.dumps(Malicious(mark)))
    assert checkpoints.newest(RunFolder(tmp_path)) == (None, [file])
    assert not mark.exists()


@pytest.mark.slow
def test_the_token_of_a_ray_of_our_own_is_written_to_no_file_and_asked_of_everybody(tmp_path: Path) -> None:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    command = [sys.executable, "-c", START]
    done = subprocess.run(command, env={**kept, "HOME": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["mode"] == "token"
    assert len(told["token"]) == 64
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert not any(told["token"].encode() in file.read_bytes() for file in written)
    assert not told["dashboard"], "a Ray of our own has none that anybody could open"
    assert told["joined"] == {"own": True, "wrong": False, "none": False}
