"""A tiny run of the benchmark with real supernets: digits, an eighth of the width, two generations."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import search_spaces
from benchmarks.pad_nas.budgets import budgets
from benchmarks.pad_nas.nas_bench_macro import FIXED, METHODS, Experiment, draw_fixed_set, main
from benchmarks.pad_nas.nas_bench_macro_oracle import Truth
from benchmarks.pad_nas.nas_bench_macro_report import along_front, tau

needs_table = pytest.mark.usefixtures("shared")
DIGITS = ("data.name=digits", "data.path=null", "data.fraction=0.4", "data.augment=none")
SMALL = (
    "space.width=0.125",
    "budget={macs: {max: 55M}}",
    "search.population=8",
    "search.generations=2",
    "training.validation_paths=1",
)
FEW_PROCESSES = ("scale.train.workers=1", "scale.evaluate.actors=1")
"""Each of the sixteen steps takes longer to start its processes than to compute."""


def table(top1: list[float], macs: list[int]) -> pd.DataFrame:
    return pd.DataFrame({"top1": top1, "macs": macs, "architecture": [f"a{number}" for number in range(len(macs))]})


def test_architectures_along_the_front_are_from_the_first_fronts() -> None:
    rows = table([1.0, 2.0, 3.0, 4.0, 5.0, 0.5], [10, 20, 30, 40, 50, 60])
    assert along_front(rows, 3)["macs"].tolist() == [10, 30, 50]
    assert along_front(rows, 6)["macs"].tolist() == [10, 20, 30, 40, 50, 60]
    assert len(along_front(rows, 30)) == 6


@needs_table
def test_tau_of_the_truth_is_one() -> None:
    truth = Truth.read()
    best = sorted(truth.feasible, key=lambda evaluation: -evaluation.top1)[:10]
    architectures = [str(evaluation.architecture) for evaluation in best]
    rows = table([evaluation.top1 for evaluation in best], [1] * 10).assign(architecture=architectures)
    assert tau(truth, rows) == 1.0
    assert tau(truth, rows.assign(top1=-rows["top1"])) == -1.0


def test_all_methods_train_for_the_same_epochs_and_begin_with_the_same_rate() -> None:
    experiment = Experiment(Path("unused"), budgets(5e7)["window"], 1000, 12, DIGITS)
    methods = {method: experiment.recipe(method, 0).method for method in METHODS}
    assert {name: tuple(method["epochs"]) for name, method in methods.items()} == {
        "i-supernet": (12,),
        "p-supernet": (6, 6),
        "pad-nas": (6, 4, 2),
    }
    assert len({method["learning_rates"][0] for method in methods.values()}) == 1


def test_the_fixed_set_has_distinct_architectures_of_the_pruned_space() -> None:
    space = search_spaces.load("nas-bench-macro")
    pruned = space.restrict({"stage1.1": ["k5e6"], "stage3.2": ["skip", "k3e3"]})
    drawn = draw_fixed_set(pruned, seed=1)
    assert len(set(drawn)) == FIXED
    assert all(architecture in pruned for architecture in drawn)
    assert drawn == draw_fixed_set(pruned, seed=1) != draw_fixed_set(pruned, seed=2)
    few = pruned.restrict({choice.name: ["k3e3"] for choice in space.choices if choice.name != "stage1.1"})
    assert [architecture.indices for architecture in draw_fixed_set(few, seed=1)] == [(2, *[1] * 7)]


@needs_table
@pytest.mark.slow
def test_a_finished_run_prints_the_same_tables_again(
    tmp_path: Path, cluster: None, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = [argument for change in (*DIGITS, *SMALL, *FEW_PROCESSES) for argument in ("--set", change)]
    options = ["--seeds", "1", "--epochs", "6", "--out", str(tmp_path), *changes]
    main([*options, "--finished"])
    assert "none is finished yet" in capsys.readouterr().out
    main(options)
    printed = capsys.readouterr().out
    for title in ("Table 8", "Table 7", "Table 6", "The chosen architectures", "Figure 5", "Table 9"):
        assert title in printed
    curve = pd.read_csv(tmp_path / "figure-5.csv")
    assert curve.groupby("method")["epoch"].max().to_dict() == {"I-Supernet": 6, "P-Supernet": 6, "PAD-NAS": 6}
    assert np.isfinite(curve["validation_top1"]).all()
    main([*options, "--finished"])
    assert capsys.readouterr().out == printed
