"""Racing: bounds hold with their probability, and a search that drops architectures early finds the same front."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import hypergeom

import raynas
import search_spaces
from raynas.evaluation.actors import EvaluatorPool, start_evaluators
from raynas.evaluation.racing_evaluation import Race, accuracy_bounds
from raynas.evaluation.request import EvaluationRequest
from raynas.recipe.recipe import Recipe
from raynas.recipe.settings import EvaluateScale, EvaluationSettings, RacingSettings, ScaleSettings
from raynas.reporting.compare import hypervolume
from raynas.results.pareto import pareto_front
from search_spaces import Budget, UserError
from tests.support.pseudo_images import PseudoImages
from tuners.search_algorithms.nsga2 import ConstrainedNsga2


@pytest.mark.parametrize("bound", ["hypergeometric", "hoeffding"])
def test_bounds_fail_at_most_with_their_probability(bound: Any) -> None:
    """The probability of every sample of 40 of 200 images is known exactly."""
    right = np.arange(41)
    lower, upper = accuracy_bounds(right, np.full(41, 40), 200, 0.1, bound)
    for total in range(201):
        chances = hypergeom.pmf(right, 200, total, 40)
        truth = total / 2
        assert chances[(truth < lower) | (truth > upper)].sum() <= 0.1 + 1e-12
    assert (lower <= 100 * right / 40).all()
    assert (100 * right / 40 <= upper).all()


def test_exact_bounds_are_tighter_and_meet_on_all_images() -> None:
    exact, loose = (accuracy_bounds([30], [60], 100, 0.01, bound) for bound in ("hypergeometric", "hoeffding"))
    assert loose[0] < exact[0] < 50 < exact[1] < loose[1]
    lower, upper = accuracy_bounds([37], [100], 100, 0.01, "hypergeometric")
    assert lower == upper == 37


def test_each_round_has_twice_as_many_images() -> None:
    assert Race(images=1000, first=250, racing=RacingSettings()).ends() == [250, 500, 1000]
    assert Race(images=1001, first=250, racing=RacingSettings()).ends() == [250, 500, 1000, 1001]
    assert Race(images=100, first=250, racing=RacingSettings()).ends() == [100]


def test_racing_can_be_true_for_the_defaults() -> None:
    assert EvaluationSettings.model_validate({"racing": True}).racing == RacingSettings()
    assert EvaluationSettings.model_validate({"racing": False}).racing is None
    with pytest.raises(UserError, match="risk"):
        Recipe.read(RECIPE, ["evaluation.racing.risk=0"])


IMAGES = 4000
RECIPE: dict[str, Any] = {
    "method": {"name": "i-supernet", "epochs": [2], "learning_rates": [0.1]},
    "space": {"name": "nas-bench-macro", "width": 0.25, "resolution": 16},
    "data": {"name": "digits", "validation": 0.4},
    "training": {"batch_size": 64},
    "search": {"population": 10, "generations": 5},
    "evaluation": {"batch_size": 48, "recalibration_images": 64, "recalibration_batch_size": 64},
    "scale": {"evaluate": {"actors": 1}},
}


def run_search(race: Race | None, folder: Path, actors: int) -> pd.DataFrame:
    """Search with evaluators, and return a row for each evaluation."""
    request = EvaluationRequest(PseudoImages(number=IMAGES), None)
    space = search_spaces.load("nas-bench-macro")
    costs, budget = space.costs(), Budget({})
    search = ConstrainedNsga2(population=32, generations=12).begin(space, costs, budget, seed=0)
    rows = []
    scale = ScaleSettings(evaluate=EvaluateScale(actors=actors))
    with start_evaluators(str(folder), "race", 1, scale) as names:
        pool = EvaluatorPool(request.to(names, "race"), costs, budget)
        while architectures := search.ask():
            evaluations = pool.measure(architectures) if race is None else race.run(pool, architectures, search)
            search.tell(evaluations)
            rows += [
                {**vars(evaluation), **evaluation.costs, "architecture": str(evaluation.architecture)}
                for evaluation in evaluations
            ]
    return pd.DataFrame(rows)


@pytest.mark.usefixtures("cluster")
def test_a_race_finds_the_same_front_on_fewer_images(tmp_path: Path) -> None:
    whole = run_search(None, tmp_path / "whole", 1)
    race = Race(images=IMAGES, first=250, racing=RacingSettings())
    raced, by_two = (run_search(race, tmp_path / str(actors), actors) for actors in (1, 2))
    figures = ["architecture", "top1", "loss", "images"]
    assert raced[figures].equals(by_two[figures]), "rounds do not depend on the number of evaluators"
    dropped = raced["images"] < IMAGES
    assert set(raced["images"]) <= set(race.ends())
    assert 0.05 < dropped.mean() < 0.5
    fronts = [pareto_front(table, "macs") for table in (whole, raced)]
    assert (fronts[1]["images"] == IMAGES).all()
    highest = whole["macs"].max()
    areas = [hypervolume(front["top1"].to_numpy(), front["macs"].to_numpy() / highest) for front in fronts]
    assert areas[1] == pytest.approx(areas[0], rel=0.005)


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_real_architectures_race_in_rounds(tmp_path: Path) -> None:
    """The search does not change, and figures on all images are the figures without a race."""
    whole = raynas.run(RECIPE, tmp_path / "whole").table
    raced = raynas.run(
        RECIPE, tmp_path / "raced", ["evaluation.racing={risk: 1.0e-9}", "scale.evaluate.actors=2"]
    ).table
    assert raced["architecture"].equals(whole["architecture"])
    is_complete = raced["images"] == whole["images"]
    assert is_complete.mean() > 0.5
    assert raced["top1"][is_complete].equals(whole["top1"][is_complete])
    assert np.allclose(raced["loss"][is_complete], whole["loss"][is_complete], atol=1e-5)
