"""A whole search with one evaluator in this process, or with evaluators on Ray, for `benchmarks.speed`."""

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


class LocalPool(EvaluatorPool):
    """A pool of one evaluator in this process."""

    def __init__(self, oracle: SupernetOracle, costs: Costs) -> None:
        self._oracle, self._local_costs = oracle.load(), costs

    def evaluate(
        self, architectures: Sequence[Architecture], weights: str | None = None, images: int | None = None
    ) -> list[Evaluation]:
        measured = self._oracle.evaluate([architecture.indices for architecture in architectures], WEIGHTS, images)
        costs = self._local_costs.cost(architectures)
        rows = [dict(zip(costs, row, strict=True)) for row in zip(*(v.tolist() for v in costs.values()), strict=True)]
        return [
            Evaluation(architecture, costs=row, **figures)
            for architecture, row, figures in zip(architectures, rows, measured, strict=True)
        ]


@dataclass(frozen=True)
class SearchSetting:
    """A folder for the supernet's weights, the space, the images, and the size of the search."""

    folder: Path
    space: SearchSpace
    data: PreparedData
    population: int
    generations: int
    seed: int

    def write(self, supernet: Supernet) -> None:
        """Write the supernet's weights."""
        RunFolder(self.folder).write_tensors(WEIGHTS, supernet.state_dict(), {})

    def oracle(self, evaluation: EvaluationSettings) -> SupernetOracle:
        """Return the oracle of one-shot accuracy on the validation images."""
        return SupernetOracle(
            run=str(self.folder),
            space=self.space.specification(),
            data=self.data,
            evaluation=evaluation,
            part="validation",
            recalibrate=True,
        )

    def local_pool(self, evaluation: EvaluationSettings) -> LocalPool:
        """Return a pool of one evaluator in this process."""
        return LocalPool(self.oracle(evaluation), self.space.costs())


@dataclass(frozen=True)
class TimedSearch:
    """A search: its seconds from the first request to the last evaluation, and its evaluations.

    Attributes:
        seconds: by the clock.
        processor_seconds: of this process; with a local pool those of the evaluator.
        table: as `evaluation_rows` returns it.
    """

    seconds: float
    processor_seconds: float
    table: pd.DataFrame

    def image_share(self) -> float:
        """Return the mean share of the images on which an architecture was measured."""
        return float(self.table["images"].mean() / self.table["images"].max())


def search(
    setting: SearchSetting, evaluation: EvaluationSettings, pool: EvaluatorPool, generations: int | None = None
) -> TimedSearch:
    """Search by NSGA-II, with a race if the settings of the evaluation have racing."""
    searcher = ConstrainedNsga2(population=setting.population, generations=generations or setting.generations)
    running = searcher.begin(setting.space, setting.space.costs(), Budget({}), setting.seed)
    race = Race.of(evaluation, setting.data.counts["validation"])
    evaluations: list[Evaluation] = []
    start, processor_start = time.perf_counter(), time.process_time()
    while architectures := running.ask():
        generation = pool.measure(architectures) if race is None else race.run(pool, architectures, running)
        running.tell(generation)
        evaluations += generation
    seconds, processor_seconds = time.perf_counter() - start, time.process_time() - processor_start
    return TimedSearch(seconds, processor_seconds, evaluation_rows(evaluations))


def evaluation_rows(evaluations: Sequence[Evaluation]) -> pd.DataFrame:
    """Return one row for each evaluation, with the text of its architecture."""
    rows = [{**vars(row), **row.costs, "architecture": str(row.architecture)} for row in evaluations]
    return pd.DataFrame(rows)


def search_on_ray(setting: SearchSetting, evaluation: EvaluationSettings, actors: int, generations: int) -> TimedSearch:
    """Search with evaluators of one thread. The process must be connected to Ray."""
    scale = ScaleSettings(evaluate=EvaluateScale(actors=actors))
    request = EvaluationRequest(setting.oracle(evaluation), WEIGHTS)
    with start_evaluators(str(setting.folder), f"by-{actors}", 1, scale) as names:
        pool = EvaluatorPool(request.to(names, "search"), setting.space.costs(), Budget({}))
        pool.measure([setting.space.architecture([options[0] for options in setting.space.surviving])])
        return search(setting, evaluation, pool, generations)


def front_hypervolume(setting: SearchSetting, timed_search: TimedSearch, exact: LocalPool) -> float:
    """Return the hypervolume of a search's front, measured again in full precision on all images."""
    front = [setting.space.parse(text) for text in pareto_front(timed_search.table, "macs")["architecture"]]
    best = pareto_front(evaluation_rows(exact.evaluate(front)), "macs")
    highest = 1.1 * setting.space.costs().bounds()["macs"][1]
    return hypervolume(best["top1"].to_numpy(float), best["macs"].to_numpy(float) / float(highest))
