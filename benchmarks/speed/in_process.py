"""Run a recipe in this process alone, without Ray: a loop with the updates and evaluations of `raynas run`.

    python -m benchmarks.speed.in_process RECIPE --out FOLDER

Methods, objectives, updates and evaluations are raynas's own. Nothing starts a process, and nothing writes checkpoints
or progress. `benchmarks.speed.orchestration` compares this loop with `raynas run`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from benchmarks.common.arguments import add_run_options, add_threads, command_parser, parse_run_options
from benchmarks.speed.in_process_training import TrainingLoop
from raynas.interfaces.searcher import Evaluation
from raynas.recipe.recipe import Recipe
from raynas.recipe.settings import FitSettings
from raynas.results.evaluation_table import EvaluationTable, SearchResult
from raynas.results.fit_result import StandaloneResult
from raynas.results.outcome import Outcome
from raynas.runtime.process import prepare_process
from raynas.storage.run_folder import RunFolder
from raynas.storage.weights import LEARNER_FILE, WEIGHTS_FILE, Weights
from raynas.study.method import method_of_recipe
from raynas.study.run import open_study
from raynas.study.run_plan import plan
from raynas.study.study import Study
from raynas.training.standalone_training import standalone_objective
from search_spaces.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from raynas.data.images import DataPart
    from raynas.evaluation.request import LoadedOracle, Oracle
    from raynas.interfaces.objective import Objective
    from raynas.interfaces.searcher import Searcher
    from raynas.recipe.settings import TrainingSettings
    from raynas.storage.step_records import StepKind
    from search_spaces import Architecture, SearchSpace

_TRAIN: Mapping[str, DataPart] = {"train": "train"}
_ALL_TRAINING: Mapping[str, DataPart] = {"train": "all-training"}
_NO_COLUMNS: Mapping[str, Any] = MappingProxyType({})


class InProcessStudy(Study):
    """A study whose steps run in this process, one after the other."""

    def train(
        self,
        name: str,
        space: SearchSpace,
        objective: Objective,
        settings: TrainingSettings,
        start: Weights | None = None,
        streams: Mapping[str, DataPart] = _TRAIN,
        kind: StepKind = "training",
    ) -> Weights:
        def write_most_probable(
            architecture: Architecture, figures: Sequence[Mapping[str, Any]], epoch: int, columns: Mapping[str, Any]
        ) -> None:
            evaluations = self.evaluations(space, [architecture], figures)
            self.write_rows(name, evaluations, iteration=epoch, **columns)

        def work(folder: str) -> dict[str, Any]:
            initial = None if start is None else self.folder.read_tensors(start.file)[0]
            whole = FitSettings(**settings.json_value())
            loop = TrainingLoop(self, name, space, objective, whole, streams, initial, write_most_probable)
            history = [loop.train_epoch(epoch) for epoch in range(settings.epochs)]
            self.folder.write_tensors(f"{folder}/{LEARNER_FILE}", loop.learner.state_dict(), {})
            self.folder.write_tensors(f"{folder}/{WEIGHTS_FILE}", loop.trained().state_dict(), {})
            return {"file": f"{folder}/{WEIGHTS_FILE}", "version": f"{name}:{settings.epochs}", "history": history}

        return Weights(**self.do(name, kind, "training", {}, work))

    def search(
        self, name: str, space: SearchSpace, weights: Weights, searcher: Searcher, oracle: Oracle | None = None
    ) -> SearchResult:
        loaded = (oracle or self.context.supernet_oracle(space, "validation", recalibrate=True)).load()

        def work(folder: str) -> dict[str, Any]:
            for trial in range(searcher.islands):
                seed = self.context.seed_of(name, trial)
                search = searcher.begin(space, self.costs_within(space), self.budget, seed)
                generation = 0
                while architectures := search.ask():
                    evaluations = self.measure(loaded, space, weights, architectures)
                    self.write_rows(name, evaluations, trial, generation)
                    search.tell(evaluations)
                    generation += 1
            return {}

        self.do(name, "search", "searching", {}, work)
        return SearchResult.read(self.folder, name, space)

    def evaluate(
        self,
        name: str,
        space: SearchSpace,
        architectures: Sequence[Architecture],
        weights: Weights,
        columns: Mapping[str, Any] = _NO_COLUMNS,
        part: DataPart = "validation",
        mixture: Tensor | None = None,
    ) -> SearchResult:
        oracle = self.context.supernet_oracle(space, part, recalibrate=mixture is None, mixture=mixture)

        def work(folder: str) -> dict[str, Any]:
            self.write_rows(name, self.measure(oracle.load(), space, weights, architectures), part=part, **columns)
            return {}

        self.do(name, "evaluation", "evaluating", {}, work)
        return SearchResult.read(self.folder, name, space)

    def fit(
        self,
        name: str,
        architecture: Architecture,
        settings: FitSettings,
        start: Weights | None = None,
        columns: Mapping[str, Any] | None = None,
    ) -> StandaloneResult:
        space = self.space.only(architecture)
        objective = standalone_objective(settings, self.data)
        weights = self.train(name, space, objective, settings, start, _ALL_TRAINING, "standalone-training")
        oracle = self.context.supernet_oracle(space, "test", recalibrate=False)
        (measured,) = self.measure(oracle.load(), space, weights, [architecture])

        def work(folder: str) -> dict[str, Any]:
            self.write_rows(f"{name}-test", [measured], part="test", **columns or {})
            return {}

        self.do(f"{name}-test", "standalone-test", "measuring", {}, work)
        figures: dict[str, Any] = {"latency_ms": None, "confusion": measured.confusion, **measured.costs}
        return StandaloneResult(
            architecture=str(architecture),
            top1=measured.top1,
            top5=measured.top5,
            loss=measured.loss,
            weights=weights.file,
            **figures,
        )

    def measure(
        self, oracle: LoadedOracle, space: SearchSpace, weights: Weights, architectures: Sequence[Architecture]
    ) -> list[Evaluation]:
        """Measure architectures in this process."""
        figures = oracle.evaluate([architecture.indices for architecture in architectures], weights.file)
        return self.evaluations(space, architectures, figures)

    def evaluations(
        self, space: SearchSpace, architectures: Sequence[Architecture], figures: Sequence[Mapping[str, Any]]
    ) -> list[Evaluation]:
        """Return the figures of architectures, with their costs."""
        costs = self.costs_within(space).cost(architectures)
        feasible = self.budget.met(costs).tolist()
        rows = [{key: values[place].item() for key, values in costs.items()} for place in range(len(architectures))]
        return [
            Evaluation(architecture, costs=row, feasible=meets, **measured)
            for architecture, row, meets, measured in zip(architectures, rows, feasible, figures, strict=True)
        ]

    def write_rows(
        self, step: str, evaluations: Sequence[Evaluation], trial: int = 0, iteration: int = 0, **columns: Any
    ) -> None:
        """Write rows of the evaluation table."""
        shared = {"part": "validation", **columns}
        EvaluationTable(self.folder).write(step, trial, iteration, evaluations, shared)


def check_recipe(recipe: Recipe) -> None:
    """Raises UserError if the recipe has a setting that this loop does not know."""
    trainings = {"training": recipe.training, "fit": recipe.fit}
    unknown = {
        "evaluation.racing": recipe.evaluation.racing is not None,
        **{f"{key}.accumulate": settings.accumulate > 1 for key, settings in trainings.items()},
        **{f"{key}.validation_paths": settings.validation_paths > 0 for key, settings in trainings.items()},
    }
    for key, is_set in unknown.items():
        if is_set:
            raise UserError(f"The loop in one process does not know {key}: leave it out.")


def run_in_process(recipe: Recipe, out: Path, threads: int) -> Outcome:
    """Run a recipe in this process with this number of torch threads."""
    prepare_process(threads, recipe.scale.deterministic)
    check_recipe(recipe)
    method = method_of_recipe(recipe)
    planned = plan(recipe, out)
    method.check(planned)
    with open_study(planned, RunFolder(out)) as study:
        outcome = method.run(InProcessStudy(study.context))
        outcome.write()
        return outcome


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_parser("speed.in_process", __doc__)
    parser.add_argument("recipe", help="a file, or the name of a recipe that ships with raynas")
    add_run_options(parser, "runs/in-process")
    add_threads(parser)
    options = parse_run_options(parser, arguments)
    run_in_process(Recipe.read(options.recipe, options.changes), options.out, options.threads)


if __name__ == "__main__":
    main()
