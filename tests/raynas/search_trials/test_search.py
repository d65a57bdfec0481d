"""Islands: the trials of a search share the evaluators, have seeds of their own, and fill one table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from benchmarks.common.actor_oracles import FreeOracle
from benchmarks.scaling.ray_share import NO_WEIGHTS, recipe
from raynas.storage.run_folder import RunFolder
from raynas.study.run import open_study
from raynas.study.run_plan import plan
from tuners.search_algorithms.nsga2 import ConstrainedNsga2

pytestmark = pytest.mark.usefixtures("cluster")


def run_search(folder: Path, islands: int) -> pd.DataFrame:
    searcher = ConstrainedNsga2(population=8, generations=3, islands=islands)
    with open_study(plan(recipe()), RunFolder(folder)) as study:
        return study.search("search", study.space, NO_WEIGHTS, searcher, FreeOracle()).table


def test_each_island_searches_with_its_own_seed(tmp_path: Path) -> None:
    two, single = run_search(tmp_path / "two", 2), run_search(tmp_path / "one", 1)
    assert two.groupby(["trial", "iteration"]).size().tolist() == [8] * 6
    first, second = (two[two["trial"] == trial] for trial in (0, 1))
    figures = ["iteration", "architecture", "top1", "seed"]
    pd.testing.assert_frame_equal(first[figures], single[figures])
    assert first["seed"].unique() != second["seed"].unique()
    assert not set(first["architecture"]) & set(second["architecture"])
