"""The loop in one process makes the updates and evaluations of `raynas run`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import raynas
from benchmarks.common.timed_process import time_process
from benchmarks.speed.in_process import run_in_process
from benchmarks.speed.orchestration import RecipeTiming, digits_recipes, time_recipe
from raynas.recipe.recipe import Recipe
from search_spaces.errors import UserError

ONE_PROCESS = ["scale.train.workers=1", "scale.train.threads=1", "scale.evaluate.threads=1", "data.fraction=0.3"]
FEW_STEPS = {
    "pad-nas-digits": ["method.epochs=[1,1,1]", "search.population=6", "search.generations=1", "space.width=0.125"],
    "spos-digits": ["training.epochs=1", "search.population=6", "search.generations=2", "space.width=0.125"],
    "hour-nas-digits": ["method.vital_epochs=1", "method.epochs=1"],
    "fp-nas-digits": ["method.epochs=2", "method.warmup_epochs=1", "method.joint_from=1", "data.classes=3"],
    "dmasking-digits": ["method.epochs=2", "method.warmup_epochs=1", "data.classes=3"],
    "hm-nas-digits": ["training.epochs=2", "method.warmup_epochs=1", "method.mask_epochs=1", "fit.epochs=1"],
    "ftso-digits": ["method.topology_epochs=1", "method.topology_steps=2", "fit.epochs=1", "data.classes=3"],
}


def shortened(name: str) -> Recipe:
    return Recipe.read(name, [*ONE_PROCESS, *FEW_STEPS[name]])


def compared(table: Any) -> Any:
    """Return the decisive columns of an evaluation table."""
    return table[["step", "iteration", "architecture", "top1", "loss", "macs", "feasible"]].reset_index(drop=True)


def test_every_digits_recipe_is_timed() -> None:
    assert set(digits_recipes()) == set(FEW_STEPS)


def test_the_share_is_what_the_plain_loop_does_not_need() -> None:
    timing = RecipeTiming("spos-digits", seconds=100.0, plain_seconds=80.0)
    assert timing.share == pytest.approx(0.2)
    assert timing.cells() == ["spos-digits", "100.0", "80.0", "20 %"]


def test_a_failed_command_is_an_error() -> None:
    with pytest.raises(RuntimeError, match=r"failed with 3:\nseen"):
        time_process([sys.executable, "-c", "import sys; print('seen'); sys.exit(3)"])


ROOT = Path(__file__).parents[3]
IN_PROCESS = """
import json, sys
from pathlib import Path
from benchmarks.speed.in_process import run_in_process
from raynas.recipe.recipe import Recipe
outcome = run_in_process(Recipe.read(json.loads(sys.argv[1])), Path(sys.argv[2]), threads=1)
print(json.dumps([len(outcome.evaluated), outcome.best["architecture"], "ray" in sys.modules]))
"""


def test_a_run_in_one_process_needs_no_ray(tmp_path: Path) -> None:
    recipe = json.dumps(shortened("spos-digits").json_value())
    command = [sys.executable, "-c", IN_PROCESS, recipe, str(tmp_path / "run")]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    evaluated, best, has_ray = json.loads(process.stdout)
    assert (evaluated, has_ray) == (12, False)
    assert raynas.load(tmp_path / "run").best["architecture"] == best


def test_a_setting_that_the_loop_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"does not know evaluation\.racing: leave it out"):
        run_in_process(Recipe.read("spos-digits", ["evaluation.racing=true"]), tmp_path / "run", threads=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["spos-digits", "ftso-digits"])
def test_both_sides_have_the_same_table(name: str, tmp_path: Path, cluster: None) -> None:
    recipe = shortened(name)
    plain = run_in_process(recipe, tmp_path / "plain", threads=1)
    distributed = raynas.run(recipe, tmp_path / "raynas")
    rows, others = compared(plain.table), compared(distributed.table)
    assert rows.drop(columns=["top1", "loss"]).equals(others.drop(columns=["top1", "loss"]))
    for column in ("top1", "loss"):
        assert rows[column].to_list() == pytest.approx(others[column].to_list(), rel=1e-5)


@pytest.mark.slow
def test_both_sides_of_a_recipe_are_timed() -> None:
    timing = time_recipe("spos-digits", [*ONE_PROCESS, *FEW_STEPS["spos-digits"]], repeats=1, threads=1)
    assert timing.seconds > timing.plain_seconds > 0
