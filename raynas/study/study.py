"""The durable steps that a method is made of. Each step runs once, and is read back when the run goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from raynas.evaluation.request import EvaluationRequest
from raynas.interfaces.costs import costs_of
from raynas.recipe.settings import FitSettings, TrainingSettings
from raynas.results.evaluation_table import EvaluationTable, SearchResult
from raynas.results.fit_result import StandaloneResult
from raynas.results.outcome import Outcome
from raynas.storage.progress import describe_loading
from raynas.storage.weights import WEIGHTS_FILE, Weights
from raynas.study.make_jobs import search_job, training_job
from raynas.study.run_context import RunContext
from raynas.study.steps import Steps, Work
from raynas.study.tracking import track_training, write_curves
from raynas.training.standalone_checks import check_standalone_settings
from search_spaces.errors import format_count

if TYPE_CHECKING:
    from torch import Tensor

    from raynas.data.images import DataPart
    from raynas.evaluation.request import Oracle
    from raynas.interfaces.objective import Objective
    from raynas.interfaces.searcher import Searcher
    from raynas.storage.run_folder import RunFolder
    from raynas.storage.step_records import StepKind
    from search_spaces import Architecture, Costs, SearchSpace

_TRAIN: Mapping[str, DataPart] = {"train": "train"}
_NO_COLUMNS: Mapping[str, Any] = MappingProxyType({})


class Study:
    """One run: its folder, and the durable steps that a method calls.

    Attributes:
        folder: the run folder.
        recipe, space, data, costs, budget: of the run; the space is unrestricted, the costs hold latency if the recipe
            has a latency table.
    """

    def __init__(self, context: RunContext) -> None:
        plan = context.plan
        self.context, self.folder = context, context.folder
        self.recipe, self.budget = plan.recipe, plan.recipe.budget
        self.space, self.data, self.costs = plan.space, plan.data, plan.costs
        self._steps = Steps(context.folder, context.attempt, context.reporter)

    def say(self, text: str) -> None:
        """Show a line to the people who watch the run, and write it into the log."""
        self.context.reporter.say(text)

    def costs_within(self, space: SearchSpace) -> Costs:
        """Return the costs of a restriction of the run's space."""
        return costs_of(space, self.context.plan.latency)

    def seed_of(self, step: str) -> int:
        """Return the seed of a step. It follows from the recipe's seed and the step's name."""
        return self.context.seed_of(step)

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
        """Train the supernet of a space as a Ray Train job, with new weights or from the weights of `start`.

        If the objective chooses an architecture, evaluators measure its one-shot accuracy after each epoch.

        Args:
            streams: the part of the images that each stream of the objective reads.
        """
        scale = self.recipe.scale
        job = training_job(self.context, name, space, objective, settings, start, streams)
        job.check_batch_size()

        def work(folder: str) -> dict[str, Any]:
            with self.context.most_probable_evaluators(name, space, objective) as evaluators:
                history = self.context.processes.train(job.changed(folder=folder, evaluators=evaluators))
            write_curves(self.folder, name, history)
            track_training(self.recipe.track, self.folder.uri, name, history)
            last = history[-1]
            accuracy = f"training loss {last['loss']:.3f}, top-1 {last['top1']:.1f} % in the last epoch"
            self.say(f"{accuracy}, {describe_loading(last)}")
            return {"file": f"{folder}/{WEIGHTS_FILE}", "version": f"{name}:{last['epoch']}", "history": history}

        trained = f"{space.size():.3g} architectures" if space.size() > 1 else "one architecture"
        description = f"training {trained} for {format_count(settings.epochs, 'epoch')}"
        processes, gpus = scale.train.workers, scale.train.gpus
        return Weights(**self._steps.do(name, kind, description, job.identity(), work, processes, gpus))

    def learner_state(self, weights: Weights) -> dict[str, Tensor]:
        """Return the last state of the learner of the training that gave these weights."""
        tensors, _ = self.folder.read_tensors(weights.learner_file)
        return tensors

    def search(
        self, name: str, space: SearchSpace, weights: Weights, searcher: Searcher, oracle: Oracle | None = None
    ) -> SearchResult:
        """Search a space as a Ray Tune run: one trial for each island, and evaluators that all trials share.

        Args:
            oracle: what measures architectures instead of the supernet with these weights.
        """
        job = search_job(self.context, name, space, searcher, weights.version, may_race=oracle is None)
        oracle = oracle or self.context.supernet_oracle(space, "validation", recalibrate=True)
        request = EvaluationRequest(oracle, weights.file)

        def work(folder: str) -> dict[str, Any]:
            with self.context.evaluators(name, request) as evaluators:
                summaries = self.context.processes.search(job.changed(folder=folder, evaluators=evaluators))
            for summary in summaries:
                if summary["note"]:
                    self.say(summary["note"])
            return {"trials": summaries}

        description = f"searching {space.size():.3g} architectures"
        self._do_evaluation(name, "search", description, job.identity(), request, work)
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
        """Measure architectures with the evaluators, and write a row of the evaluation table for each.

        Args:
            columns: the method's own columns of the evaluation table.
            part: the part of the images to measure on.
            mixture: weights of all options, shape (choices, options): their mixture is measured, with the batch-norm
                statistics of the mixture itself.
        """
        oracle = self.context.supernet_oracle(space, part, recalibrate=mixture is None, mixture=mixture)
        request = EvaluationRequest(oracle, weights.file)

        def work(folder: str) -> dict[str, Any]:
            evaluations = self.context.measure(name, request, space, architectures)
            shared = {**self.context.shared_columns(part, weights.version), "seed": self.recipe.seed, **columns}
            EvaluationTable(self.folder).write(name, 0, 0, evaluations, shared)
            answers = evaluations[0].confusion if len(evaluations) == 1 else None
            return {"evaluations": len(evaluations), "confusion": answers}

        description = f"evaluating {format_count(len(architectures), 'architecture')}"
        identity = {"architectures": [str(architecture) for architecture in architectures]}
        self._do_evaluation(name, "evaluation", description, identity, request, work)
        return SearchResult.read(self.folder, name, space)

    def fit(
        self,
        name: str,
        architecture: Architecture,
        settings: FitSettings,
        start: Weights | None = None,
        columns: Mapping[str, Any] | None = None,
    ) -> StandaloneResult:
        """Train one network stand-alone on all training images, then measure it on the test images.

        With `columns`, the method's own, the measurement is a row of the evaluation table, in the step `NAME-test`.

        Raises:
            UserError: if a network of the space cannot be trained with these settings.
        """
        from raynas.training.standalone_training import standalone_objective  # imports torch

        check_standalone_settings(self.space, settings)
        space, test = self.space.only(architecture), f"{name}-test"
        objective = standalone_objective(settings, self.data)
        streams: Mapping[str, DataPart] = {"train": "all-training"}
        weights = self.train(name, space, objective, settings, start, streams, "standalone-training")
        request = EvaluationRequest(self.context.supernet_oracle(space, "test", recalibrate=False), weights.file)

        def work(folder: str) -> dict[str, Any]:
            (measured,) = self.context.measure(test, request, space, [architecture])
            if columns is not None:
                shared = {**self.context.shared_columns("test", weights.version), "seed": self.recipe.seed, **columns}
                EvaluationTable(self.folder).write(test, 0, 0, [measured], shared)
            accuracy = {"top1": measured.top1, "top5": measured.top5, "loss": measured.loss}
            return {**accuracy, "confusion": measured.confusion, "latency_ms": None, **measured.costs}

        identity = {"architectures": [str(architecture)]}
        figures = self._do_evaluation(
            test, "standalone-test", "measuring it on the test images", identity, request, work
        )
        measured = {key: figures[key] for key in ("top1", "top5", "loss", "macs", "params", "latency_ms", "confusion")}
        return StandaloneResult(architecture=str(architecture), **measured, weights=weights.file)

    def derive_weights(
        self,
        name: str,
        weights: Weights,
        run: RunFolder | None = None,
        change: Callable[[dict[str, Tensor]], Mapping[str, Tensor]] = dict,
        identity: Mapping[str, Any] = _NO_COLUMNS,
    ) -> Weights:
        """Write weights that follow from other weights.

        Args:
            run: the run folder of the other weights; None for this run's.
            change: a pure function of the tensors by their names.
            identity: what decides the change, as plain JSON.
        """

        def work(folder: str) -> dict[str, Any]:
            tensors, header = (run or self.folder).read_tensors(weights.file)
            file = f"{folder}/{WEIGHTS_FILE}"
            self.folder.write_tensors(file, change(tensors), header)
            return {"file": file, "version": weights.version, "history": weights.history}

        source = {"file": weights.file, "version": weights.version, **identity}
        description = f"taking the weights {weights.version}"
        return Weights(**self._steps.do(name, "derived-weights", description, source, work))

    def outcome(
        self, step: str, space: SearchSpace, cost: str, weights: Weights, network_weights: str | None = None
    ) -> Outcome:
        """Return the outcome of the run, with the Pareto front of one step.

        Args:
            cost: the resource of the Pareto front: `macs`, `params` or `latency_ms`.
            network_weights: the file of the final network's own weights, if the method trained it.
        """
        return Outcome(
            run=self.folder.uri,
            method=self.recipe.method["name"],
            space=space.specification(),
            table=EvaluationTable(self.folder).read(),
            final=step,
            cost=cost,
            weights=weights.file,
            network_weights=network_weights,
        )

    def do(
        self, name: str, kind: StepKind, description: str, identity: Mapping[str, Any], work: Work
    ) -> dict[str, Any]:
        """Carry out a durable step that keeps the training workers busy (`Steps.do`)."""
        train = self.recipe.scale.train
        return self._steps.do(name, kind, description, identity, work, train.workers, train.gpus)

    def _do_evaluation(
        self,
        name: str,
        kind: StepKind,
        description: str,
        identity: Mapping[str, Any],
        request: EvaluationRequest,
        work: Work,
    ) -> dict[str, Any]:
        evaluate = self.recipe.scale.evaluate
        whole = {**identity, **request.identity()}
        return self._steps.do(name, kind, description, whole, work, evaluate.actors, evaluate.gpus)
