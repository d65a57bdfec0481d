"""`PadNas` carries out algorithm 1: the order of its steps, rates, inheritance, and what is pruned.

Searching, pruning and the run folder are real. Accuracies are those of an oracle, so a training only notes its call.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from benchmarks.common.oracles import NeighbourOracle
from raynas.interfaces.objective import Objective, UniformPath
from raynas.recipe.recipe import Recipe
from raynas.results.evaluation_table import EvaluationTable, SearchResult
from raynas.results.outcome import Outcome
from raynas.storage.run_folder import RunFolder
from raynas.storage.weights import Weights
from raynas.study.method import method_of_recipe
from raynas.study.run import open_study
from raynas.study.run_context import RunContext
from raynas.study.run_plan import plan
from raynas.study.study import Study

if TYPE_CHECKING:
    from raynas.evaluation.request import Oracle
    from raynas.interfaces.searcher import Searcher
    from raynas.recipe.settings import TrainingSettings
    from search_spaces import SearchSpace

EPOCHS, RATES, THRESHOLD, BELOW_RANK = [4, 3, 2, 1], [0.5, 0.4, 0.3, 0.2], 0.08, 4
RECIPE: dict[str, Any] = {
    "method": {
        "name": "pad-nas",
        "stages": 5,
        "epochs": EPOCHS,
        "learning_rates": RATES,
        "prune_below": THRESHOLD,
        "below_rank": BELOW_RANK,
    },
    "space": {"name": "nas-bench-macro", "resolution": 16},
    "data": {"name": "digits", "classes": 3},
    "budget": {"macs": {"min": "11M", "max": "13M"}},
    "training": {"batch_size": 32},
    "search": {"population": 16, "generations": 5},
}


class OracleStudy(Study):
    """A study whose accuracies are an oracle's. It notes every step in its order."""

    def __init__(self, context: RunContext) -> None:
        super().__init__(context)
        self.steps: list[dict[str, Any]] = []

    def train(
        self,
        name: str,
        space: SearchSpace,
        objective: Objective,
        settings: TrainingSettings,
        start: Weights | None = None,
        streams: Mapping[str, Any] | None = None,
        kind: Any = "training",
    ) -> Weights:
        assert isinstance(objective, UniformPath)
        noted = {"epochs": settings.epochs, "rate": settings.learning_rate, "start": start.file if start else None}
        self.steps.append({"step": name, "surviving": space.surviving, **noted})
        return Weights(file=name, version=name, history=[])

    def search(
        self, name: str, space: SearchSpace, weights: Weights, searcher: Searcher, oracle: Oracle | None = None
    ) -> SearchResult:
        self.steps.append({"step": name, "surviving": space.surviving, "weights": weights.file})

        def work(folder: str) -> dict[str, Any]:
            search = searcher.begin(space, self.costs_within(space), self.budget, self.seed_of(name))
            known, generation = NeighbourOracle(space, seed=3), 0
            while architectures := search.ask():
                evaluations = known.evaluate(architectures)
                EvaluationTable(self.folder).write(name, 0, generation, evaluations, {"part": "validation"})
                search.tell(evaluations)
                generation += 1
            return {}

        self.do(name, "search", "searching", {}, work)
        return SearchResult.read(self.folder, name, space)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, image_cache: Path) -> tuple[OracleStudy, Outcome]:
    recipe = Recipe.read(RECIPE)
    with open_study(plan(recipe), RunFolder(tmp_path_factory.mktemp("run"))) as study:
        with_oracle = OracleStudy(study.context)
        return with_oracle, method_of_recipe(recipe).run(with_oracle)


def test_trainings_and_searches_take_turns(run: tuple[OracleStudy, Outcome]) -> None:
    study, outcome = run
    assert [step["step"] for step in study.steps] == [
        *("supernet", "search-2", "supernet-2", "search-3", "supernet-3", "search-4", "supernet-4", "final")
    ]
    assert outcome.weights == "supernet-4"


def test_each_training_has_its_epochs_and_rate_and_inherits_from_the_one_before(
    run: tuple[OracleStudy, Outcome],
) -> None:
    trainings = [step for step in run[0].steps if "epochs" in step]
    searches = [step for step in run[0].steps if "weights" in step]
    assert [step["epochs"] for step in trainings] == EPOCHS
    assert [step["rate"] for step in trainings] == RATES
    names = [step["step"] for step in trainings]
    assert [step["start"] for step in trainings] == [None, *names[:-1]]
    assert [step["weights"] for step in searches] == names


def test_a_search_has_the_space_of_the_training_before_it(run: tuple[OracleStudy, Outcome]) -> None:
    spaces = [step["surviving"] for step in run[0].steps]
    assert spaces[::2] == spaces[1::2]
    assert len(set(spaces)) > 1, "nothing was pruned"


def pruned_by_algorithm_1(rows: pd.DataFrame, surviving: Any, space: SearchSpace) -> list[set[int]]:
    """Return the operations of each layer after lines 4 to 7, by definition."""
    points = list(zip(rows["top1"], rows["macs"], strict=True))

    def dominates(one: tuple[float, float], other: tuple[float, float]) -> bool:
        return one != other and one[0] >= other[0] and one[1] <= other[1]

    left, counted = set(range(len(points))), set()
    for _ in range(BELOW_RANK - 1):
        front = {i for i in left if not any(dominates(points[j], points[i]) for j in left)}
        left -= front
        counted |= {space.parse(rows["architecture"].iloc[i]).indices for i in front}
    kept = []
    for layer, options in enumerate(surviving):
        shares = {option: sum(indices[layer] == option for indices in counted) / len(counted) for option in options}
        most_frequent = max(shares, key=lambda option: shares[option])
        kept.append({option for option in options if shares[option] > THRESHOLD or option == most_frequent})
    return kept


def test_what_is_pruned_follows_from_the_search_before(run: tuple[OracleStudy, Outcome]) -> None:
    study, _ = run
    table = EvaluationTable(study.folder).read()
    for search, training in zip(study.steps[1:-1:2], study.steps[2::2], strict=True):
        rows = table[table["step"] == search["step"]]
        expected = pruned_by_algorithm_1(rows, search["surviving"], study.space)
        assert [set(options) for options in training["surviving"]] == expected


def test_every_architecture_lies_in_the_window_and_the_outcome_is_the_last_front(
    run: tuple[OracleStudy, Outcome],
) -> None:
    study, outcome = run
    table = EvaluationTable(study.folder).read()
    assert table["macs"].between(11e6, 13e6).all()
    last = table[table["step"] == "final"]
    assert outcome.best["top1"] == last["top1"].max()
    dominated = [
        ((last["top1"] >= row.top1) & (last["macs"] < row.macs)).any() for row in outcome.front.itertuples(index=False)
    ]
    assert not any(dominated)
