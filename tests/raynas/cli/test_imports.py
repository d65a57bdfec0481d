"""Commands that compute nothing, and refusals, import neither torch nor Ray: each takes seconds to import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.raynas.cli.bad_input.case import NETWORK, Setup, file, finished, images, several, write_recipe

SLOW = ("ray", "torch", "torchvision")
SCRIPT = f"""
import sys
from raynas.cli.main import main
status = 0
try:
    main(sys.argv[1:])
except SystemExit as end:
    status = end.code
print(status, *sorted({set(SLOW)} & set(sys.modules)))
"""

DESCRIBING = [
    ["--help"],
    ["--version"],
    ["run", "--help"],
    ["spaces"],
    ["methods"],
    ["schema"],
    ["describe", "fbnet"],
    ["describe", "fp-nas-l2"],
    ["describe", "hournas-a"],
    ["describe", NETWORK, "--latency", "table.csv"],
    ["describe", "darts", "--set", "cells=5"],
]
READING = [["table", "run"], ["report", "run"], ["compare", "run"], ["watch", "run", "--json"]]

_CATS = images("cat", "dog")
REFUSED: list[tuple[list[str], Setup | None]] = [
    (["run", "nothing"], None),
    (["run", "recipe.yaml", "--frobnicate"], None),
    (["run", "recipe.yaml", "--log-format=xml"], None),
    (["run", "recipe.yaml", "--set=training.epoch=3"], None),
    (["run", "recipe.yaml", "--set=training.epochs=-1"], None),
    (["run", "recipe.yaml", "--set=method.name=pad-na"], None),
    (["run", "recipe.yaml", "--set=method.stages=1"], None),
    (["run", "recipe.yaml", "--set=space.name=fbnett"], None),
    (["run", "recipe.yaml", "--set=space.width=-1"], None),
    (["run", "recipe.yaml", "--set=latency.path=none.csv"], None),
    (["run", "recipe.yaml", "--set=data.name=CIFAR11"], None),
    (["run", "recipe.yaml", "--set=data.classes=11"], None),
    (["run", "recipe.yaml", "--set=budget.macs.max=1"], None),
    (["run", "recipe.yaml", "--set=budget={macs: {max: 1M}, params: {min: 1G}}"], None),
    (["run", "recipe.yaml", "--set=fit.drop_path=0.2"], None),
    (["run", "recipe.yaml", "--set=data={name: folder, path: images}"], images("cat")),
    (["run", "recipe.yaml", "--out", "table.csv"], None),
    (["run", "recipe.yaml", "--out", "images"], _CATS),
    (["run", "hm-nas-digits", "--set=method.searched_run=run"], None),
    (["run", "hour-nas-digits", "--set=budget={macs: {max: 1M}}"], None),
    (["run", "fp-nas-digits", "--set=method.warmup_epochs=1000"], None),
    (["run", "ftso-digits", "--set=method.inputs=9"], None),
    (["demo", "--set=sed=1"], None),
    (["fit", "nothing"], None),
    (["fit", NETWORK, "--set", "epoch=3"], None),
    (["fit", NETWORK.replace("k3e3 |", "k7e6 |")], None),
    (["auto", "images"], _CATS),
    (["auto", "nothing", "--max-macs", "1M"], None),
    (["auto", "images", "--max-macs", "1M"], images("cat")),
    (["auto", "images", "--max-params", "1"], _CATS),
    (["table", "nothing"], None),
    (["report", "nothing"], None),
    (["compare", "run", "--max-macs", "50X"], None),
    (["describe", "hournas-z"], None),
    (["latency", "measure", "fbnett"], None),
]


def outcome_of(folder: Path, command: list[str]) -> list[str]:
    """Run a command in a process of its own; return its exit status and the slow packages that it imported."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, *command], cwd=folder, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    return done.stdout.splitlines()[-1].split()


@pytest.mark.parametrize("command", DESCRIBING, ids=" ".join)
def test_a_command_that_describes_imports_no_torch(tmp_path: Path, command: list[str]) -> None:
    write_latency_table(tmp_path)
    assert outcome_of(tmp_path, command) == ["0"]


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_a_command_that_reads_a_run_imports_no_torch(tmp_path: Path, command: list[str]) -> None:
    finished(tmp_path)
    assert outcome_of(tmp_path, command) == ["0"]


@pytest.mark.parametrize(("command", "setup"), REFUSED, ids=[" ".join(command) for command, _ in REFUSED])
def test_a_refusal_imports_no_torch(tmp_path: Path, command: list[str], setup: Setup | None) -> None:
    several(write_recipe, file("table.csv", ""), *([setup] if setup else []))(tmp_path)
    assert outcome_of(tmp_path, command) == ["2"]


def write_latency_table(folder: Path) -> None:
    """Write a table that holds every block of the network that is described."""
    import search_spaces

    space = search_spaces.load("nas-bench-macro")
    search_spaces.LatencyTable(dict.fromkeys(space.latency_blocks(), 1.0), "The table").write(folder / "table.csv")
