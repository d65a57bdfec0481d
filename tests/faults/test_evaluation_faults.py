"""Faults of evaluations: memory that runs out, weights that are not finite, a damaged table."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from raynas.recipe.recipe import Recipe
from raynas.results.evaluation_table import EvaluationTable, SearchResult
from raynas.results.pareto import pareto_front
from raynas.storage.errors import StepFailed
from raynas.storage.run_folder import RunFolder
from raynas.storage.weights import Weights
from raynas.study.run import open_study
from raynas.study.run_plan import plan
from raynas.study.study import Study
from tests.faults.test_training_faults import RECIPE, Recorder
from tests.support.damage import empty, truncate
from tuners.search_algorithms.nsga2 import ConstrainedNsga2

MEASURE = """
import json, resource, sys
import torch
from raynas.data import DataSettings, open_images, prepare
from raynas.evaluation.evaluator import Evaluator
from raynas.recipe.recipe import EvaluationSettings
from search_spaces import load

torch.set_num_threads(1)
space = load("nas-bench-macro", resolution=64, num_classes=10)
images = open_images(prepare(DataSettings(), 64, 0))
settings = EvaluationSettings(batch_size=256, recalibration_images=16, recalibration_batch_size=16)
evaluator = Evaluator(space, images, settings, torch.device("cpu"))
torch.manual_seed(0)
supernet = space.supernet()
architecture = space.architecture([2] * len(space.choices))
list(evaluator._batches), list(evaluator._recalibration)
if sys.argv[1] != "whole":
    pages = int(open("/proc/self/statm").read().split()[0])
    limit = pages * resource.getpagesize() + int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
print(json.dumps(*evaluator.one_shot(supernet, [architecture])))
"""
SEARCHER = ConstrainedNsga2(population=8, generations=3)
WEIGHTS = Weights("w.safetensors", "w:0", [])


def measure(limit: str) -> dict[str, Any]:
    """Return the figures of an architecture, measured in a process.

    Args:
        limit: how many bytes the process may allocate for the measurement; `whole` for no limit.
    """
    process = subprocess.run([sys.executable, "-c", MEASURE, limit], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    figures: dict[str, Any] = json.loads(process.stdout)
    return figures


def test_batches_are_halved_if_memory_runs_out() -> None:
    whole, halved = measure("whole"), measure(str(300 * 2**20))
    assert whole["batch_size"] == 256
    assert halved["batch_size"] < 256
    assert (halved["top1"], halved["top5"], halved["images"]) == (whole["top1"], whole["top5"], whole["images"])
    assert halved["loss"] == pytest.approx(whole["loss"], abs=1e-5)


@contextmanager
def open_recorded_study(folder: Path) -> Iterator[tuple[Study, Recorder]]:
    """Open a study. Yields it, and the recorder of its lines."""
    recorder = Recorder(folder)
    with open_study(plan(Recipe.read(RECIPE)), RunFolder(folder), recorder) as study:
        yield study, recorder


def write_weights(study: Study, poisoned: str) -> None:
    """Write weights drawn with one seed. Tensors with `poisoned` in their names are NaN."""
    torch.manual_seed(0)
    state = study.space.supernet().state_dict()
    not_finite = {
        key: torch.full_like(value, torch.nan)
        for key, value in state.items()
        if poisoned in key and "tracked" not in key
    }
    study.folder.write_tensors(WEIGHTS.file, {**state, **not_finite}, {})


@pytest.mark.usefixtures("cluster")
def test_a_search_continues_past_architectures_without_finite_losses(tmp_path: Path) -> None:
    with open_recorded_study(tmp_path) as (study, _):
        write_weights(study, ".stage1-1.k3e3.")
        result = study.search("search", study.space, WEIGHTS, SEARCHER)
        table = EvaluationTable(study.folder).read("search")
        poisoned = [text.startswith("nas-bench-macro: k3e3 ") for text in table["architecture"]]
        assert 0 < sum(poisoned) < len(table)
        assert table["failure"].notna().tolist() == poisoned
        assert set(table["failure"].dropna()) == {"its loss is not a number"}
        assert table["top1"].isna().tolist() == poisoned
        assert len(result.table) == len(result.architectures) == len(table) - sum(poisoned)
        assert pareto_front(table, "macs")["top1"].notna().all()

        write_weights(study, "classifier")
        with pytest.raises(StepFailed, match=r"None of 4 architectures can be measured: its loss is not a number\."):
            study.evaluate("again", study.space, result.architectures[:4], WEIGHTS)


@pytest.mark.usefixtures("cluster")
def test_a_search_repairs_a_damaged_table_and_a_damaged_state(tmp_path: Path) -> None:
    def search() -> tuple[SearchResult, list[str]]:
        with open_recorded_study(tmp_path) as (study, recorder):
            write_weights(study, "nothing")
            return study.search("search", study.space, WEIGHTS, SEARCHER), recorder.lines

    before, _ = search()
    (state,) = tmp_path.glob("steps/*/trial-0.json")
    tables = sorted((tmp_path / "evaluations").iterdir())
    times = [file.stat().st_mtime_ns for file in tables]
    truncate(tables[1])
    truncate(state)
    empty(tmp_path / "study.json")
    after, lines = search()
    pd.testing.assert_frame_equal(after.table.drop(columns="seconds"), before.table.drop(columns="seconds"))
    assert any("is damaged or missing: the step search runs again" in line for line in lines)
    assert [file.stat().st_mtime_ns == at for file, at in zip(tables, times, strict=True)] == [True, False, True]

    truncate(tables[-1])
    after, lines = search()
    pd.testing.assert_frame_equal(after.table.drop(columns="seconds"), before.table.drop(columns="seconds"))
    assert any(f"{tables[-1].name} is damaged or missing: the step search runs again" in line for line in lines)
