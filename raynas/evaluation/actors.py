"""The supernet actors: named, shared by every trial of a step, restarted when they die, each question answered once.

An actor is given paths and settings, never arrays, so that a restarted one needs nothing but its arguments.
"""

from __future__ import annotations

import hashlib
import pkgutil
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray

from raynas import lock
from raynas.devices import bundle
from raynas.evaluation.evaluator import Answers, Question
from raynas.processes import prepare_process
from raynas.recipe import ScaleSettings
from raynas.run_folder import RunFolder
from raynas.searcher import Evaluation
from raynas.steps import StepFailed
from search_spaces import Architecture, Budget, Costs

NAMESPACE = "raynas"


class SupernetActor:
    """One process that holds an `Answers` and remembers what it has answered."""

    def __init__(self, run: str, attempt: int, question: dict[str, Any], threads: int, deterministic: bool) -> None:
        prepare_process(threads, deterministic)
        lock.note_process(RunFolder(run), attempt)
        asked = Question.model_validate(question)
        self._answers: Answers = pkgutil.resolve_name(asked.answers)(**asked.arguments)
        self._weights = asked.weights
        self._known: dict[tuple[str | None, tuple[int, ...]], dict[str, Any]] = {}

    @ray.method
    def evaluate(self, asked: list[tuple[int, ...]], weights: str | None = None) -> list[dict[str, Any]]:
        """The answers for these architectures, each worked out the first time that it is asked for.

        Args:
            weights: the file of the weights in the run folder, if they are others than those of the question.
        """
        file = weights or self._weights
        for indices in asked:
            if (file, indices) not in self._known:
                self._known[file, indices] = self._answers.evaluate(indices, file)
        return [self._known[file, indices] for indices in asked]

    @ray.method
    def answered(self) -> int:
        """How many architectures this process has worked out."""
        return len(self._known)


@contextmanager
def evaluators(run: str, step: str, attempt: int, question: Question, scale: ScaleSettings) -> Iterator[list[str]]:
    """Keep `scale.evaluators` actors for one step; the value is their names, which any process of the run may call.

    The attempt is part of the name, as the actors of a killed driver may live on for seconds in a joined cluster.
    """
    remote = ray.remote(SupernetActor)
    asked = bundle(scale, cpus=0)
    tag = hashlib.sha256(run.encode()).hexdigest()[:8]
    names = [f"raynas-{tag}-{step}-{attempt}-{number}" for number in range(scale.evaluators)]
    actors: list[Any] = [
        remote.options(
            name=name,
            namespace=NAMESPACE,
            num_cpus=0,
            num_gpus=asked.get("GPU", 0),
            memory=asked.get("memory"),
            max_restarts=-1,
            max_task_retries=-1,
        ).remote(run, attempt, question.json_value(), scale.threads, scale.deterministic)
        for name in names
    ]
    try:
        yield names
    finally:
        for actor in actors:
            ray.kill(actor)


class Pool:
    """The actors of a step as one process sees them. An architecture is always asked of the same actor."""

    def __init__(self, names: Sequence[str], costs: Costs, budget: Budget) -> None:
        self._actors = [ray.get_actor(name, NAMESPACE) for name in names]
        self._costs = costs
        self._budget = budget

    def evaluate(self, architectures: Sequence[Architecture], weights: str | None = None) -> list[Evaluation]:
        """One evaluation an architecture, in the order asked; costs are looked up here.

        Args:
            weights: a file in the run folder, if other weights are meant than those of the actors' question.
        """
        homes = [self._home(one) for one in architectures]
        asked = [
            [one.indices for one, home in zip(architectures, homes, strict=True) if home == actor]
            for actor in range(len(self._actors))
        ]
        pending = [actor.evaluate.remote(some, weights) for actor, some in zip(self._actors, asked, strict=True)]
        costs = self._costs.cost(architectures)
        feasible = self._budget.met(costs).tolist()
        rows = [dict(zip(costs, row, strict=True)) for row in zip(*(v.tolist() for v in costs.values()), strict=True)]
        answered: list[list[dict[str, Any]]] = ray.get(pending)
        answers = [iter(some) for some in answered]
        return [
            Evaluation(one, costs=row, feasible=met, **next(answers[home]))
            for one, row, met, home in zip(architectures, rows, feasible, homes, strict=True)
        ]

    def measure(self, architectures: Sequence[Architecture]) -> list[Evaluation]:
        """As `evaluate`, of architectures that a step cannot do without.

        Raises:
            StepFailed: if none of them can be measured.
        """
        evaluations = self.evaluate(architectures)
        if evaluations and all(one.failed for one in evaluations):
            count = f"None of {len(evaluations)} architectures" if len(evaluations) > 1 else "The architecture"
            verb = "can" if len(evaluations) > 1 else "cannot"
            raise StepFailed(f"{count} {verb} be measured: {evaluations[0].failed}.")
        return evaluations

    def _home(self, architecture: Architecture) -> int:
        """Which actor answers for this architecture."""
        return zlib.crc32(str(architecture.indices).encode()) % len(self._actors)
