"""The evaluation table, ranks and Pareto fronts by hand, and the outcome of a run."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from raynas.interfaces.searcher import Evaluation
from raynas.results.evaluation_table import COLUMNS, EvaluationTable, SearchResult
from raynas.results.outcome import Outcome, json_rows, load
from raynas.results.pareto import non_domination_ranks, pareto_front
from raynas.storage.progress import Quiet
from raynas.storage.run_folder import DamagedFile, RunFolder
from raynas.study.steps import Steps
from search_spaces import UserError
from search_spaces import load as load_space
from tests.support.damage import truncate

SPACE = load_space("nas-bench-macro")
SHARED = {"recipe_hash": "abc", "part": "validation", "weights_version": "supernet:3", "seed": 5}


def evaluation(indices: str, top1: float, macs: int, feasible: bool = True) -> Evaluation:
    architecture = SPACE.architecture([int(index) for index in indices])
    costs: dict[str, float] = {"macs": macs, "params": 2 * macs}
    return Evaluation(architecture, top1, 99.0, 0.5, 100, costs, 0.01, feasible)


def table_of(folder: Path) -> EvaluationTable:
    """Return the table of a run with two searches."""
    run = Steps(RunFolder(folder), 1, Quiet())
    for step in ("search-2", "final"):
        run.do(step, "search", "", {}, lambda _: {})
    return EvaluationTable(RunFolder(folder))


def test_ranks_by_hand() -> None:
    """In (top-1, cost): a and b are a trade-off, c equals a, a alone beats d, and all beat e."""
    ranks = non_domination_ranks([90, 80, 90, 85, 70], [20, 10, 20, 25, 30])
    assert ranks.tolist() == [1, 1, 1, 2, 3]


def test_a_front_holds_each_architecture_once_in_the_order_of_cost() -> None:
    rows = [("a", 90.0, 20, True), ("b", 80.0, 10, True), ("a", 90.0, 20, True), ("c", 85.0, 25, True)]
    rows += [("outside the budget", 99.0, 1, False)]
    table = pd.DataFrame(rows, columns=["architecture", "top1", "macs", "feasible"])
    assert pareto_front(table, "macs")["architecture"].tolist() == ["b", "a"]
    assert pareto_front(table[:0], "macs").empty


def test_the_table_is_read_back_in_the_order_of_the_run(tmp_path: Path) -> None:
    table = table_of(tmp_path)
    for trial, iteration in ((1, 0), (0, 10), (0, 9)):
        table.write("final", trial, iteration, [evaluation("01201201", 50.0, 10**12 + iteration)], SHARED)
    table.write("search-2", 0, 0, [evaluation("00000000", 40.0, 7)], SHARED)
    read = table.read("final")
    assert list(read.columns) == COLUMNS
    assert read[["trial", "iteration"]].to_numpy().tolist() == [[0, 9], [0, 10], [1, 0]]
    assert read["macs"].tolist() == [10**12 + 9, 10**12 + 10, 10**12]
    assert read["macs"].dtype == "int64"
    assert read["latency_ms"].isna().all()
    assert table.read()["step"].tolist() == ["search-2", "final", "final", "final"]


def test_a_repeated_generation_overwrites_its_rows(tmp_path: Path) -> None:
    table = table_of(tmp_path)
    for top1 in (10.0, 20.0):
        table.write("final", 0, 3, [evaluation("01201201", top1, 10)], SHARED)
    assert table.read()["top1"].tolist() == [20.0]


def test_the_error_of_a_damaged_table_names_the_file(tmp_path: Path) -> None:
    table = table_of(tmp_path)
    table.write("final", 0, 0, [evaluation("01201201", 10.0, 10)], SHARED)
    file = next((tmp_path / "evaluations").iterdir())
    truncate(file)
    with pytest.raises(DamagedFile, match=file.name):
        table.read()


def test_a_search_result_has_the_architectures_of_its_rows(tmp_path: Path) -> None:
    evaluations = [evaluation("01201201", 10.0, 10), evaluation("22222222", 20.0, 20)]
    EvaluationTable(RunFolder(tmp_path)).write("final", 0, 0, evaluations, SHARED)
    result = SearchResult.read(RunFolder(tmp_path), "final", SPACE)
    assert result.architectures == [evaluation.architecture for evaluation in evaluations]


@pytest.fixture
def outcome(tmp_path: Path) -> Outcome:
    folder = RunFolder(tmp_path)
    table = table_of(tmp_path)
    table.write("search-2", 0, 0, [evaluation("00000000", 100.0, 1)], SHARED)
    evaluations = [evaluation("01201201", 80.0, 10), evaluation("22222222", 90.0, 20), evaluation("11111111", 85.0, 30)]
    table.write("final", 0, 0, evaluations, SHARED)
    folder.write("recipe.yaml", b"method: pad-nas")
    return Outcome(str(tmp_path), "pad-nas", SPACE.specification(), table.read(), "final", "macs", "w.safetensors")


def test_an_outcome_takes_its_front_and_best_architecture_from_the_last_search(outcome: Outcome) -> None:
    assert outcome.front["top1"].tolist() == [80.0, 90.0]
    assert list(outcome.front.columns) == ["architecture", "top1", "macs", "params", "latency_ms"]
    best = {
        "architecture": str(SPACE.architecture([2] * 8)),
        "top1": 90.0,
        "macs": 20,
        "params": 40,
        "latency_ms": None,
    }
    assert outcome.best == best


def test_the_json_value_of_an_outcome(outcome: Outcome) -> None:
    value = json.loads(json.dumps(outcome.json_value()))
    assert list(value) == ["run", "method", "space", "best", "front"]
    assert value["space"] == "nas-bench-macro"
    assert [row["macs"] for row in value["front"]] == [10, 20]
    assert value["best"] in value["front"]


def test_an_outcome_is_read_back(outcome: Outcome) -> None:
    with pytest.raises(UserError, match="not finished"):
        load(outcome.run)
    outcome.write()
    read = load(outcome.run)
    assert read.json_value() == outcome.json_value()
    assert (read.weights, read.final, read.cost) == ("w.safetensors", "final", "macs")
    pd.testing.assert_frame_equal(read.table, outcome.table)
    pd.testing.assert_frame_equal(pd.read_csv(Path(outcome.run) / "front.csv"), outcome.front, check_dtype=False)
    with pytest.raises(UserError, match=r"no recipe\.yaml"):
        load(Path(outcome.run) / "elsewhere")


def test_json_rows_keep_every_digit_and_write_nan_as_null() -> None:
    third = 100 / 3
    assert json_rows(pd.DataFrame({"a": [third], "b": [math.nan], "c": [2**53 - 1]})) == [
        {"a": pytest.approx(third, rel=1e-15), "b": None, "c": 2**53 - 1}
    ]
