"""Run a recipe in this process alone, without Ray: a loop with the updates and evaluations of `raynas run`.

    python -m benchmarks.speed.in_process RECIPE --out FOLDER

Methods, objectives, updates and evaluations are raynas's own. Nothing starts a process, and nothing writes checkpoints
or progress. `benchmarks.speed.orchestration` compares this loop with `raynas run`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.common.arguments import add_run_options, add_threads, command_parser
from raynas.data import Images, open_images, training_batch
from raynas.evaluation.evaluator import Evaluator
from raynas.interfaces.objective import WEIGHTS, Learner, MicroBatch, TrainingStep
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
from raynas.training.epoch_schedule import EpochSchedule, epoch_batches
from raynas.training.learning_rate import learning_rate
from raynas.training.metric_means import MetricMeans
from raynas.training.standalone_training import standalone_objective
from raynas.training.update import apply_update, make_optimizer
from raynas.training.weight_average import moving_average
from search_spaces.supernet import Supernet

if TYPE_CHECKING:
    from torch import Tensor

    from raynas.data.images import DataPart
    from raynas.evaluation.request import LoadedOracle, Oracle
    from raynas.interfaces.objective import Objective
    from raynas.interfaces.searcher import Searcher
    from raynas.recipe.settings import TrainingSettings
    from raynas.storage.step_records import StepKind
    from search_spaces import Architecture, SearchSpace

_SHUFFLE = 1
_TRAIN: Mapping[str, DataPart] = {"train": "train"}
_ALL_TRAINING: Mapping[str, DataPart] = {"train": "all-training"}
_NO_COLUMNS: Mapping[str, Any] = MappingProxyType({})


class InProcessStudy(Study):
    """A study whose steps run in this process, one after the other. A race of evaluations is not run."""

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
        def work(folder: str) -> dict[str, Any]:
            initial = None if start is None else self.folder.read_tensors(start.file)[0]
            loop = TrainingLoop(self, name, space, objective, FitSettings(**settings.json_value()), streams, initial)
            history = [row for epoch in range(settings.epochs) for row in loop.train_epoch(epoch)]
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
        figures: dict[str, Any] = {"latency_ms": None, **measured.costs}
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
        return [self.evaluation(space, *pair) for pair in zip(architectures, figures, strict=True)]

    def evaluation(self, space: SearchSpace, architecture: Architecture, figures: Mapping[str, Any]) -> Evaluation:
        """Return the figures of an architecture, with its costs."""
        costs = self.costs_within(space).cost([architecture])
        row = {key: value.item() for key, value in costs.items()}
        return Evaluation(architecture, costs=row, feasible=bool(self.budget.met(costs)), **figures)

    def write_rows(
        self, step: str, evaluations: Sequence[Evaluation], trial: int = 0, iteration: int = 0, **columns: Any
    ) -> None:
        """Write rows of the evaluation table."""
        shared = {"part": "validation", **columns}
        EvaluationTable(self.folder).write(step, trial, iteration, evaluations, shared)


class TrainingLoop:
    """A training in this process: one worker, all images of a batch."""

    def __init__(
        self,
        study: InProcessStudy,
        name: str,
        space: SearchSpace,
        objective: Objective,
        settings: FitSettings,
        streams: Mapping[str, DataPart],
        initial: Mapping[str, Tensor] | None,
    ) -> None:
        self._study, self._name, self._space = study, name, space
        self._settings, self._streams = settings, streams
        self._seed = study.seed_of(name)
        self._images: Images = open_images(study.data)
        torch.manual_seed(self._seed)
        self._supernet: Supernet = space.supernet()
        if initial is not None:
            own = self._supernet.state_dict()
            self._supernet.load_state_dict({key: initial.get(key, value) for key, value in own.items()})
        self._supernet.to(memory_format=torch.channels_last)
        self.learner: Learner = objective.begin(space, study.costs_within(space), self._seed)
        weights = [*self._supernet.parameters(), *self.learner.own_weights()]
        self._optimizers = {WEIGHTS: make_optimizer(weights, settings), **self.learner.groups()}
        self._average = None if settings.ema is None else moving_average(self._supernet, settings.ema)
        self._loss = nn.CrossEntropyLoss(label_smoothing=settings.label_smoothing)
        evaluation = study.recipe.evaluation
        chooses = objective.chooses
        self._evaluator = Evaluator(space, self._images, evaluation, torch.device("cpu")) if chooses else None

    def trained(self) -> nn.Module:
        """Return the network whose weights count."""
        return self._supernet if self._average is None else self._average.module

    def train_epoch(self, epoch: int) -> Iterator[dict[str, Any]]:
        """Train for an epoch, then measure the most probable architecture if there is one. Yields the metrics."""
        batches = {
            stream: epoch_batches(
                self._images.rows(part), self._settings.batch_size, [self._seed, epoch, number, _SHUFFLE]
            )
            for number, (stream, part) in enumerate(self._streams.items())
        }
        schedule = EpochSchedule(self.learner.passes(epoch), batches, self._settings.steps)
        means = MetricMeans()
        begun = time.monotonic()
        self._supernet.train()
        for step in range(schedule.steps):
            self._train_step(epoch, step, schedule, means)
        seconds = time.monotonic() - begun
        most_probable = self.learner.most_probable()
        if self._evaluator is not None and most_probable is not None:
            (figures,) = self._evaluator.one_shot(self._supernet, [most_probable])
            evaluation = self._study.evaluation(self._space, most_probable, figures)
            self._study.write_rows(self._name, [evaluation], iteration=epoch, **self.learner.notes())
        yield {"epoch": epoch + 1, **means.values(), "workers": 1, "seconds": seconds}

    def _train_step(self, epoch: int, step: int, schedule: EpochSchedule, means: MetricMeans) -> None:
        settings, weight_steps = self._settings, schedule.weight_steps
        done = epoch * weight_steps + schedule.weight_step(step)
        rate = learning_rate(settings, done, settings.epochs * weight_steps)
        generator = np.random.default_rng([self._seed, epoch, step])
        for update, rows, beside in schedule.at(step):

            def read(rows: NDArray[np.int64]) -> list[MicroBatch]:
                at = (self._seed, epoch, step)
                images, labels = training_batch(self._images, rows, *at, cutout=settings.cutout, policy=settings.policy)
                return [MicroBatch(images, labels, 1.0)]

            training_step = TrainingStep(
                self._space, self._supernet, read(rows), generator, self._loss, weights=self._optimizers[WEIGHTS]
            )
            if beside is not None:
                training_step = replace(training_step, beside=read(beside))
            gradients = apply_update(update, self._optimizers, rate, training_step, settings.clip_norm)
            if self._average is not None and update.parameters == WEIGHTS:
                self._average.update_parameters(self._supernet)
            is_main = update.parameters == WEIGHTS or not weight_steps
            means.add(
                {key if is_main else f"{update.parameters}_{key}": value for key, value in gradients.metrics.items()}
            )


def run_in_process(recipe: Recipe, out: Path, threads: int) -> Outcome:
    """Run a recipe in this process with this number of torch threads."""
    prepare_process(threads, recipe.scale.deterministic)
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
    options = parser.parse_args(arguments)
    run_in_process(Recipe.read(options.recipe, options.changes), options.out, options.threads)


if __name__ == "__main__":
    main()
