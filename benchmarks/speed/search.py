"""A whole search with the evaluator in this process, or by supernet actors: what `benchmarks.speed` measures of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from raynas.data.settings import PreparedData
from raynas.evaluation.actors import EvaluatorPool, start_evaluators
from raynas.evaluation.one_shot import SupernetOracle
from raynas.evaluation.racing_evaluation import Race
from raynas.evaluation.request import EvaluationRequest
from raynas.interfaces.searcher import Evaluation
from raynas.recipe.settings import EvaluateScale, EvaluationSettings, ScaleSettings
from raynas.reporting.compare import hypervolume
from raynas.results.pareto import pareto_front
from raynas.storage.run_folder import RunFolder
from search_spaces import Architecture, Budget, Costs, SearchSpace
from search_spaces.supernet import Supernet
from tuners.search_algorithms.nsga2 import ConstrainedNsga2

WEIGHTS = "weights.safetensors"


class Local(EvaluatorPool):
    """A pool of one supernet in this process."""

    def __init__(self, oracle: SupernetOracle, costs: Costs) -> None:
        self._oracle, self._local_costs = oracle.load(), costs

    def evaluate(
        self, architectures: Sequence[Architecture], weights: str | None = None, images: int | None = None
    ) -> list[Evaluation]:
        answers = self._oracle.evaluate([one.indices for one in architectures], WEIGHTS, images)
        costs = self._local_costs.cost(architectures)
        rows = [dict(zip(costs, row, strict=True)) for row in zip(*(v.tolist() for v in costs.values()), strict=True)]
        return [
            Evaluation(one, costs=row, **answer) for one, row, answer in zip(architectures, rows, answers, strict=True)
        ]


@dataclass(frozen=True)
class Setting:
    """A supernet's weights and images, on disk, and how a search asks."""

    folder: Path
    space: SearchSpace
    data: PreparedData
    population: int
    generations: int
    seed: int

    def write(self, supernet: Supernet) -> None:
        RunFolder(self.folder).write_tensors(WEIGHTS, supernet.state_dict(), {})

    def oracle(self, evaluation: EvaluationSettings) -> SupernetOracle:
        return SupernetOracle(
            run=str(self.folder),
            space=self.space.specification(),
            data=self.data,
            evaluation=evaluation,
            part="validation",
            recalibrate=True,
        )

    def local(self, evaluation: EvaluationSettings) -> Local:
        return Local(self.oracle(evaluation), self.space.costs())


@dataclass(frozen=True)
class Searched:
    """What a search took, from the first question to the last answer, and its evaluations.

    Attributes:
        seconds: by the clock.
        processor_seconds: of this process, where the evaluator is in it.
    """

    seconds: float
    processor_seconds: float
    table: pd.DataFrame

    def images(self) -> float:
        """The share of all images that an architecture was measured on, in the mean."""
        return float(self.table["images"].mean() / self.table["images"].max())


def search(
    setting: Setting, evaluation: EvaluationSettings, pool: EvaluatorPool, generations: int | None = None
) -> Searched:
    """NSGA-II by a pool, with a race where the evaluation's settings ask for one."""
    searcher = ConstrainedNsga2(population=setting.population, generations=generations or setting.generations)
    searching = searcher.begin(setting.space, setting.space.costs(), Budget({}), setting.seed)
    race = Race.of(evaluation, setting.data.counts["validation"])
    rows: list[Evaluation] = []
    start, computing = time.perf_counter(), time.process_time()
    while asked := searching.ask():
        evaluations = pool.measure(asked) if race is None else race.run(pool, asked, searching)
        searching.tell(evaluations)
        rows += evaluations
    return Searched(time.perf_counter() - start, time.process_time() - computing, rows_of(rows))


def rows_of(evaluations: Sequence[Evaluation]) -> pd.DataFrame:
    """One row an evaluation, architectures by their texts."""
    return pd.DataFrame([{**vars(one), **one.costs, "architecture": str(one.architecture)} for one in evaluations])


def by_actors(setting: Setting, evaluation: EvaluationSettings, actors: int, generations: int) -> Searched:
    """The same by so many supernet actors of one thread, on the Ray that this process is connected to."""
    scale = ScaleSettings(evaluate=EvaluateScale(actors=actors))
    request = EvaluationRequest(setting.oracle(evaluation), WEIGHTS)
    with start_evaluators(str(setting.folder), f"by-{actors}", 1, request, scale) as names:
        pool = EvaluatorPool(names, setting.space.costs(), Budget({}))
        pool.measure([setting.space.architecture([options[0] for options in setting.space.surviving])])
        return search(setting, evaluation, pool, generations)


def front_area(setting: Setting, searched: Searched, exact: Local) -> float:
    """The hypervolume of a search's front, its architectures measured once more: in full precision, on all images."""
    front = [setting.space.parse(text) for text in pareto_front(searched.table, "macs")["architecture"]]
    best = pareto_front(rows_of(exact.evaluate(front)), "macs")
    highest = 1.1 * setting.space.costs().bounds()["macs"][1]
    return hypervolume(best["top1"].to_numpy(float), best["macs"].to_numpy(float) / float(highest))
