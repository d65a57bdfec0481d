"""The sweep over the number of proposals: the columns of drawn costs, and a whole run that is not repeated."""

from pathlib import Path

import pandas as pd
import pytest
import torch

import raynas
import search_spaces
from raynas.recipe.recipe import Recipe
from raynas.storage.run_folder import RunFolder
from search_spaces import Budget
from tuners.hour_nas.sweep import TEMPERATURES, HourNasSweep, measure_drawn_costs

TARGETS = ["{macs: {target: 3M, tolerance: 0.03}}", "{macs: {target: 2500k, tolerance: 0.02}}"]
CHANGES = (
    f"method={{name: hour-nas-sweep, vital_epochs: 1, epochs: 1, sweep: [2], budgets: [{', '.join(TARGETS)}]}}",
    "data.classes=2",
    "data.fraction=0.3",
    "training.batch_size=16",
    "training.warmup_epochs=0",
)


def test_drawn_costs_of_a_certain_architecture_are_the_costs_of_this_architecture() -> None:
    """theta is so sharp that no other architecture is drawn."""
    space = search_spaces.load("nas-bench-macro").restrict({"stage1.1": ["k3e3"]})
    costs = space.costs().as_table()
    architecture = space.architecture([1, 2, 0, 0, 1, 2, 0, 1])
    theta = torch.full((8, 3), -1e4)
    theta[range(8), architecture.indices] = 1e4
    macs = costs.cost([architecture])["macs"].item()
    budget = Budget.model_validate({"macs": {"target": macs / 1.02, "tolerance": 0.03}})
    measures = measure_drawn_costs(costs, space.surviving, theta, budget, seed=0)
    assert measures.keys() == {f"{key}_{t}" for t in TEMPERATURES for key in ("met", "macs_off")}
    for temperature in TEMPERATURES:
        assert measures[f"met_{temperature}"] == 1.0
        assert measures[f"macs_off_{temperature}"] == pytest.approx(0.02)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("cluster")
def test_each_budget_and_number_of_proposals_is_a_trial_and_no_trial_is_repeated(tmp_path: Path) -> None:
    recipe = Recipe.read("hour-nas-digits", CHANGES)
    outcome = raynas.run(recipe, tmp_path / "run")
    rows = pd.read_csv(tmp_path / "run" / HourNasSweep.table_name)
    assert rows["m"].tolist() == [2, 2]
    assert rows["macs_target"].tolist() == [3e6, 2.5e6]
    assert ((rows["macs"] / rows["macs_target"] - 1).abs() <= [0.03, 0.02]).all()
    table = outcome.table[outcome.table["step"] == "proposals"]
    assert table["trial"].tolist() == [0, 1]
    assert table["architecture"].tolist() == rows["architecture"].tolist()
    assert table["top1"].tolist() == rows["top1"].tolist()
    assert table["feasible"].all()
    assert rows["changed_choices"].between(0, 22).all()
    assert (rows["raw_macs"] > 0).all()
    trials = sorted((tmp_path / "run" / "steps" / "02-proposals").glob("trial-*"))
    assert [trial.name for trial in trials] == ["trial-000", "trial-001"]
    done = [RunFolder(trial).read_json("study.json") for trial in trials]
    assert [step["name"] for step in done[0]["steps"]] == ["vital", "non-vital", "final"]
    (tmp_path / "run" / "outcome.json").unlink()
    again = raynas.run(recipe, tmp_path / "run")
    pd.testing.assert_frame_equal(again.table, outcome.table)
    assert [RunFolder(trial).read_json("study.json") for trial in trials] == done
