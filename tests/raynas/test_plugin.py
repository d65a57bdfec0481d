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


def test_the_method_runs_in_the_space(environment: dict[str, str], tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "method: {name: halving, architectures: 4, rounds: 2}\nspace: narrow\nbudget: {macs: {max: 1M}}\n"
        "training: {epochs: 1, batch_size: 64, learning_rate: 0.1}\n"
        "evaluation: {recalibration_images: 64, recalibration_batch_size: 64}\nscale: {evaluate: {actors: 1}}\n"
    )
    outcome = run_json(tmp_path, environment, "run", str(recipe), "--out", str(tmp_path / "run"))
    assert (outcome["method"], outcome["space"]) == ("halving", "narrow")
    assert outcome["best"]["macs"] <= 10**6
    run_json(tmp_path, environment, "describe", outcome["best"]["architecture"])
    rows = run_json(tmp_path, environment, "table", str(tmp_path / "run"))
    assert [row["step"] for row in rows] == ["asked-1"] * 4 + ["asked-2"] * 2


def test_the_contracts_of_the_plug_in_hold(environment: dict[str, str], tmp_path: Path) -> None:
    tests = PLUGIN / "tests"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(tests), str(tests)]
    process = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout[-2000:]
    assert "2 passed" in process.stdout
