"""Processes live on between the steps of a run, and give bit for bit what fresh processes give."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from raynas.interfaces.objective import UniformPath
from raynas.recipe.recipe import Recipe
from raynas.storage.run_folder import RunFolder
from raynas.study.run import open_study
from raynas.study.run_plan import plan
from tests.faults.test_training_faults import RECIPE
from tuners.search_algorithms.nsga2 import ConstrainedNsga2

pytestmark = pytest.mark.usefixtures("cluster")
SEARCHER = ConstrainedNsga2(population=4, generations=2)


def train_and_search(folder: Path, keep: bool) -> tuple[bytes, pd.DataFrame, int]:
    """Train, search, train on and search again. Returns the last weights, the table and the number of processes."""
    recipe = Recipe.read(RECIPE, ["training.epochs=1", "scale.evaluate.actors=1"])
    with open_study(plan(recipe), RunFolder(folder), keep=keep) as study:
        first = study.train("first", study.space, UniformPath(), recipe.training)
        study.search("search-first", study.space, first, SEARCHER)
        second = study.train("second", study.space, UniformPath(), recipe.training, first)
        result = study.search("search-second", study.space, second, SEARCHER)
    weights = study.folder.read(second.file)
    return weights, result.table.drop(columns="seconds"), len(study.folder.names("processes"))


def test_processes_that_live_on_give_bit_for_bit_what_fresh_ones_give(tmp_path: Path) -> None:
    weights, table, processes = train_and_search(tmp_path / "living", keep=True)
    fresh_weights, fresh_table, fresh_processes = train_and_search(tmp_path / "fresh", keep=False)
    assert weights == fresh_weights
    pd.testing.assert_frame_equal(table, fresh_table)
    assert (processes, fresh_processes) == (3, 6), "a worker, an evaluator and a trial; and each of them twice"
    assert not (tmp_path / "living" / "ray").exists(), "Ray's own files and the queues go with the processes"
