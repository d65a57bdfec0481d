"""The example plug-in, installed as a package, adds a space and a method to raynas."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import run_raynas

pytestmark = pytest.mark.slow

PLUGIN = Path(__file__).parents[2] / "examples" / "plugin"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, image_cache: Path) -> dict[str, str]:
    """Environment variables with which Python finds the plug-in. The environment of the tests does not change."""
    source, installed = tmp_path_factory.mktemp("source") / "plugin", tmp_path_factory.mktemp("installed")
    shutil.copytree(PLUGIN, source)
    install = ["pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target"]
    subprocess.run([sys.executable, "-m", *install, str(installed), str(source)], check=True)
    return {**os.environ, "PYTHONPATH": str(installed)}


def run_json(folder: Path, environment: dict[str, str], *arguments: str) -> Any:
    """Run a command of raynas with `--json`, and return its result."""
    process = run_raynas(folder, *arguments, "--json", environment=environment)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


def test_the_space_and_the_method_are_listed(environment: dict[str, str], tmp_path: Path) -> None:
    spaces = {space["name"]: space for space in run_json(tmp_path, environment, "spaces")}
    assert (spaces["narrow"]["choices"], spaces["narrow"]["size"]) == (5, str(3 * 4 * 3 * 4 * 4))
    methods = {method["name"]: method for method in run_json(tmp_path, environment, "methods")}
    assert methods["halving"]["settings"] == {"architectures": 16, "rounds": 3}
    assert "narrow" not in {space["name"] for space in run_json(tmp_path, dict(os.environ), "spaces")}


def test_the_contracts_of_the_plug_in_hold_and_the_command_reads_the_run_of_its_method(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """The command and the tests of the plug-in share a run."""
    tests, base = PLUGIN / "tests", tmp_path / "base"
    options = ["-p", "no:cacheprovider", "--rootdir", str(tests), "--basetemp", str(base)]
    command = [sys.executable, "-m", "pytest", *options, str(tests)]
    process = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout[-2000:]
    assert "2 passed" in process.stdout

    run = base / "test_method0" / "run"
    (run / "outcome.json").unlink()
    outcome = run_json(tmp_path, environment, "run", str(run / "recipe.yaml"), "--out", str(run))
    assert (outcome["method"], outcome["space"]) == ("halving", "narrow")
    assert outcome["best"]["macs"] <= 10**6
    run_json(tmp_path, environment, "describe", outcome["best"]["architecture"])
    rows = run_json(tmp_path, environment, "table", str(run))
    assert [row["step"] for row in rows] == ["asked-1"] * 4 + ["asked-2"] * 2
