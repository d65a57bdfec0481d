"""The example plug-in, installed as anybody's package is, adds a space and a method without touching raynas."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

PLUGIN = Path(__file__).parents[2] / "examples" / "plugin"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, image_cache: Path) -> dict[str, str]:
    """One in which the plug-in is installed; the tests' own is left as it is."""
    source, installed = tmp_path_factory.mktemp("source") / "plugin", tmp_path_factory.mktemp("installed")
    shutil.copytree(PLUGIN, source)
    command = ["pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target"]
    subprocess.run([sys.executable, "-m", *command, str(installed), str(source)], check=True)
    return {**os.environ, "PYTHONPATH": str(installed)}


def told(environment: dict[str, str], *arguments: str) -> Any:
    command = [str(Path(sys.executable).parent / "raynas"), *arguments, "--json"]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_both_are_listed(environment: dict[str, str]) -> None:
    spaces = {space["name"]: space for space in told(environment, "spaces")}
    assert (spaces["narrow"]["choices"], spaces["narrow"]["size"]) == (5, str(3 * 4 * 3 * 4 * 4))
    methods = {method["name"]: method for method in told(environment, "methods")}
    assert methods["halving"]["settings"] == {"architectures": 16, "rounds": 3}
    assert "narrow" not in {space["name"] for space in told(dict(os.environ), "spaces")}


def test_they_run_together_and_with_what_ships(environment: dict[str, str], tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "method: {name: halving, architectures: 4, rounds: 2}\nspace: narrow\nbudget: {macs: {max: 1M}}\n"
        "training: {epochs: 1, batch_size: 64, learning_rate: 0.1}\n"
        "evaluation: {recalibration_images: 64, recalibration_batch_size: 64}\nscale: {evaluate: {actors: 1}}\n"
    )
    outcome = told(environment, "run", str(recipe), "--out", str(tmp_path / "run"))
    assert (outcome["method"], outcome["space"]) == ("halving", "narrow")
    assert outcome["best"]["macs"] <= 10**6
    told(environment, "describe", outcome["best"]["architecture"])
    rows = told(environment, "table", str(tmp_path / "run"))
    assert [row["step"] for row in rows] == ["asked-1"] * 4 + ["asked-2"] * 2
