"""FP-NAS's schedules as one Ray Tune run, in which a search ends once its distribution has converged."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import ValidationError

import raynas
from raynas.recipe.recipe import Recipe
from raynas.study.method import method_of_recipe
from raynas.study.run_plan import plan
from search_spaces import UserError
from tuners.fp_nas.sample_size import AdaptiveSampling, FixedSampling
from tuners.fp_nas.sweep import ENTROPIES_FILE, FpNasSweep

SWEEP = [
    {"name": "FS", "sample_size": {"fixed": 2}, "distribution": "joint"},
    {"name": "AS", "sample_size": {"per_nat": 0.12}, "budget": {"macs": {"max": "450k"}}},
]
METHOD = {
    "name": "fp-nas-sweep",
    "epochs": 6,
    "warmup_epochs": 1,
    "joint_from": 2,
    "architecture_learning_rate": 0.8,
    "converged_nats": 4,
    "sweep": SWEEP,
}
CHANGES = (
    f"method={json.dumps(METHOD)}",
    "data.classes=3",
    "data.fraction=0.5",
    "training.batch_size=8",
    "scale.train.workers=1",
)


def test_a_sample_size_is_read_as_fixed_or_adaptive() -> None:
    fixed, adaptive = FpNasSweep.model_validate({"sweep": SWEEP}).sweep
    assert fixed.sample_size == FixedSampling(fixed=2)
    assert adaptive.sample_size == AdaptiveSampling(per_nat=0.12)
    with pytest.raises(ValidationError):
        FpNasSweep.model_validate({"sweep": [{"name": "neither", "sample_size": {"fixed": 2, "per_nat": 1}}]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"joint_from": 9}, r"below method\.epochs"),
        ({"budget": {"macs": {"max": "100k"}}}, "macs can be 407,744 to 1,581,628"),
    ],
)
def test_an_impossible_schedule_is_refused_before_any_training(change: dict[str, Any], message: str) -> None:
    method = {**METHOD, "sweep": [*SWEEP, {"name": "wrong", **change}]}
    recipe = Recipe.read("fp-nas-digits", [f"method={json.dumps(method)}"])
    with pytest.raises(UserError, match=message):
        method_of_recipe(recipe).check(plan(recipe))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("cluster")
def test_each_schedule_is_a_trial_that_ends_once_its_distribution_has_converged(tmp_path: Path) -> None:
    recipe = Recipe.read("fp-nas-digits", CHANGES)
    outcome = raynas.run(recipe, tmp_path / "run")
    rows = pd.read_csv(tmp_path / "run" / FpNasSweep.table_name)
    assert rows["schedule"].tolist() == ["FS", "AS"]
    assert (rows["macs"] <= [600e3, 450e3]).all()
    epochs = pd.read_csv(tmp_path / "run" / ENTROPIES_FILE)
    assert epochs.groupby("schedule").size().to_dict() == dict(
        zip(rows["schedule"], rows["search_epochs"], strict=True)
    )
    ended = rows[rows["search_epochs"] < 6]
    assert len(ended) >= 1
    assert (ended["entropy"] <= 4).all()
    (tmp_path / "run" / "outcome.json").unlink()
    pd.testing.assert_frame_equal(raynas.run(recipe, tmp_path / "run").table, outcome.table)
