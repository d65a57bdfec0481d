"""Commands that compute nothing, and refusals, import neither torch nor Ray: each takes seconds to import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import search_spaces
from tests.raynas.cli.bad_input.case import NETWORK, Setup, file, finished, images, several, write_recipe

SCRIPT = """
import json, os, sys
from raynas.cli.main import main
outcomes, before = [], set()
for folder, command in json.load(sys.stdin):
    os.chdir(folder)
    status = 0
    try:
        main(command)
    except SystemExit as end:
        status = end.code
    imported = {"ray", "torch", "torchvision"} & set(sys.modules)
    outcomes.append([status, *sorted(imported - before)])
    before = imported
with open(sys.argv[1], "w") as file:
    json.dump(outcomes, file)
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
    (["fit", NETWORK, "--set", "drop_path=0.2"], None),
    (["run", "recipe.yaml", "--set=data={name: folder, path: images}"], images("cat")),
    (["run", "recipe.yaml", "--out", "table.csv"], None),
    (["run", "recipe.yaml", "--out", "images"], _CATS),
    (["run", "hm-nas-digits", "--set=method.searched_run=run"], None),
    (["run", "hour-nas-digits", "--set=budget={macs: {max: 1M}}"], None),
    (["run", "fp-nas-digits", "--set=method.warmup_epochs=1000"], None),
    (["run", "ftso-digits", "--set=method.replacement_operator=nothing"], None),
    (["demo", "--set=sed=1"], None),
    (["export", "nothing"], None),
    (["export", "run", "--format", "tflite"], finished),
    (["fit", "nothing"], None),
    (["fit", NETWORK, "--set", "epoch=3"], None),
    (["fit", NETWORK.replace("k3e3 |", "k7e6 |")], None),
    (["auto", "images"], _CATS),
    (["auto", "nothing", "--max-macs", "1M"], None),
    (["auto", "images", "--max-macs", "1M"], images("cat")),
    (["auto", "images", "--max-params", "1"], _CATS),
    (["auto", "images", "--max-macs", "50MB"], _CATS),
    (["auto", "nothing", "--max-macs", "50MB", "--max-params", "much"], None),
    (["auto", "empty", "--max-macs", "1M"], file("empty/notes.txt", "")),
    (["run", "recipe.yaml", "--set=seed=x", "--set=training.epochs=0"], None),
    (["run", "recipe.yaml", "--set=method.stages=1", "--set=data={name: folder, path: nothing}"], None),
    (["table", "nothing"], None),
    (["report", "nothing"], None),
    (["compare", "run", "--max-macs", "50X"], None),
    (["describe", "hournas-z"], None),
]


class Run(NamedTuple):
    """A command line, its expected exit status, and the files of its working directory."""

    command: list[str]
    status: int
    setup: Setup | None = None


def write_latency_table(folder: Path) -> None:
    """Write a table that holds every block of the space of `NETWORK`."""
    blocks = search_spaces.load("nas-bench-macro").latency_blocks()
    search_spaces.LatencyTable(dict.fromkeys(blocks, 1.0), "The table").write(folder / "table.csv")


RUNS = [
    *(Run(command, 0, write_latency_table) for command in DESCRIBING),
    *(Run(command, 0, finished) for command in READING),
    *(Run(command, 2, setup) for command, setup in REFUSED),
]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[list[int | str]]:
    """The exit status of each run and the slow packages that it imported first. All runs share a process."""
    written = tmp_path_factory.mktemp("outcomes") / "outcomes.json"
    lines = []
    for run in RUNS:
        folder = tmp_path_factory.mktemp("run")
        several(write_recipe, file("table.csv", ""), *([run.setup] if run.setup else []))(folder)
        lines.append((str(folder), run.command))
    process = [sys.executable, "-c", SCRIPT, str(written)]
    done = subprocess.run(process, check=False, input=json.dumps(lines), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result: list[list[int | str]] = json.loads(written.read_text())
    return result


@pytest.mark.parametrize("number", range(len(RUNS)), ids=[" ".join(run.command) for run in RUNS])
def test_neither_torch_nor_ray_is_imported(outcomes: list[list[int | str]], number: int) -> None:
    assert outcomes[number] == [RUNS[number].status]
