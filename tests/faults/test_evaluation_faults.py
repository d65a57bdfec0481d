"""What goes wrong while measuring: memory that runs out, weights that are no numbers, a table that is damaged."""

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
from tests.faults.test_training_faults import RECIPE, Heard
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


def measured(limit: str) -> dict[str, Any]:
    """The answer of a process that may take so many bytes more than it has when it begins."""
    done = subprocess.run([sys.executable, "-c", MEASURE, limit], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_fewer_images_at_once_where_memory_runs_out() -> None:
    whole, halved = measured("whole"), measured(str(300 * 2**20))
    assert whole["batch_size"] == 256
    assert halved["batch_size"] < 256
    assert (halved["top1"], halved["top5"], halved["images"]) == (whole["top1"], whole["top5"], whole["images"])
    assert halved["loss"] == pytest.approx(whole["loss"], abs=1e-5)


@contextmanager
def study(folder: Path) -> Iterator[tuple[Study, Heard]]:
    """A study with weights, untrained, to search by."""
    heard = Heard(folder)
    with open_study(plan(Recipe.read(RECIPE)), RunFolder(folder), heard) as opened_study:
        yield opened_study, heard


def write_weights(study: Study, poisoned: str) -> None:
    """Weights drawn with one seed, those whose names hold a word being no numbers."""
    torch.manual_seed(0)
    state = study.space.supernet().state_dict()
    spoilt = {
        key: torch.full_like(value, torch.nan)
        for key, value in state.items()
        if poisoned in key and "tracked" not in key
    }
    study.folder.write_tensors(WEIGHTS.file, {**state, **spoilt}, {})


@pytest.mark.usefixtures("cluster")
def test_what_cannot_be_measured_is_written_down_and_the_search_goes_on(tmp_path: Path) -> None:
    with study(tmp_path) as (it, _):
        write_weights(it, ".stage1-1.k3e3.")
        found = it.search("search", it.space, WEIGHTS, SEARCHER)
        table = EvaluationTable(it.folder).read("search")
        spoilt = [text.startswith("nas-bench-macro: k3e3 ") for text in table["architecture"]]
        assert 0 < sum(spoilt) < len(table)
        assert table["failed"].notna().tolist() == spoilt
        assert set(table["failed"].dropna()) == {"its loss is not a number"}
        assert table["top1"].isna().tolist() == spoilt
        assert len(found.table) == len(found.architectures) == len(table) - sum(spoilt)
        assert pareto_front(table, "macs")["top1"].notna().all()

        write_weights(it, "classifier")
        with pytest.raises(StepFailed, match=r"None of 4 architectures can be measured: its loss is not a number\."):
            it.evaluate("again", it.space, found.architectures[:4], WEIGHTS)


@pytest.mark.usefixtures("cluster")
def test_a_damaged_table_and_a_lost_state_are_mended(tmp_path: Path) -> None:
    def search() -> tuple[SearchResult, list[str]]:
        with study(tmp_path) as (it, heard):
            write_weights(it, "nothing")
            return it.search("search", it.space, WEIGHTS, SEARCHER), heard.said

    before, _ = search()
    (state,) = tmp_path.glob("steps/*/trial-0.json")
    tables = sorted((tmp_path / "evaluations").iterdir())
    kept = [file.stat().st_mtime_ns for file in tables]
    tables[1].write_bytes(tables[1].read_bytes()[:-20])
    state.write_bytes(state.read_bytes()[:-2])
    (tmp_path / "study.json").write_text("")
    after, said = search()
    pd.testing.assert_frame_equal(after.table.drop(columns="seconds"), before.table.drop(columns="seconds"))
    assert any("is damaged or gone: search is done again" in text for text in said)
    assert [file.stat().st_mtime_ns == at for file, at in zip(tables, kept, strict=True)] == [True, False, True]

    tables[-1].write_bytes(tables[-1].read_bytes()[:-20])
    after, said = search()
    pd.testing.assert_frame_equal(after.table.drop(columns="seconds"), before.table.drop(columns="seconds"))
    assert any(f"{tables[-1].name} is damaged or gone: search is done again" in text for text in said)
