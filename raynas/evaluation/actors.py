"""The supernet actors: named, shared by every trial of a step, restarted when they die, each question answered once.

An actor is given paths and settings, never arrays, so that a restarted one needs nothing but its arguments.
"""

from __future__ import annotations

import hashlib
import pkgutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray

from raynas import lock
from raynas.evaluation.evaluator import Answers, Question
from raynas.processes import prepare_process
from raynas.recipe import ScaleSettings
from raynas.run_folder import RunFolder
from raynas.searcher import Evaluation
from search_spaces import Architecture, Budget, Costs

NAMESPACE = "raynas"


class SupernetActor:
    """One process that holds an `Answers` and remembers what it has answered."""

    def __init__(self, run: str, question: dict[str, Any], threads: int, deterministic: bool) -> None:
        prepare_process(threads, deterministic)
        lock.note_process(RunFolder(run))
        asked = Question.model_validate(question)
        self._answers: Answers = pkgutil.resolve_name(asked.answers)(**asked.arguments)
        self._weights = asked.weights
        self._known: dict[tuple[int, ...], dict[str, Any]] = {}

    @ray.method
    def evaluate(self, indices: tuple[int, ...]) -> dict[str, Any]:
        """The answer for one architecture, worked out the first time that it is asked for."""
        if indices not in self._known:
            self._known[indices] = self._answers.evaluate(indices, self._weights)
        return self._known[indices]

    @ray.method
    def answered(self) -> int:
        """How many architectures this process has worked out."""
        return len(self._known)


@contextmanager
def evaluators(run: str, step: str, question: Question, scale: ScaleSettings) -> Iterator[list[str]]:
    """Keep `scale.evaluators` actors for one step; the value is their names, which any process of the run may call."""
    remote = ray.remote(SupernetActor)
    tag = hashlib.sha256(run.encode()).hexdigest()[:8]
    names = [f"raynas-{tag}-{step}-{number}" for number in range(scale.evaluators)]
    actors: list[Any] = [
        remote.options(
            name=name, namespace=NAMESPACE, num_cpus=0, num_gpus=scale.gpus, max_restarts=-1, max_task_retries=-1
        ).remote(run, question.json_value(), scale.threads, scale.deterministic)
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

    def evaluate(self, architectures: Sequence[Architecture]) -> list[Evaluation]:
        """One evaluation an architecture, in the order asked; costs are looked up here."""
        pending = [self._actor(one).evaluate.remote(one.indices) for one in architectures]
        costs = self._costs.cost(architectures)
        feasible = self._budget.met(costs).tolist()
        rows = [dict(zip(costs, row, strict=True)) for row in zip(*(v.tolist() for v in costs.values()), strict=True)]
        return [
            Evaluation(one, costs=row, feasible=met, **answer)
            for one, row, met, answer in zip(architectures, rows, feasible, ray.get(pending), strict=True)
        ]

    def _actor(self, architecture: Architecture) -> Any:
        home = int.from_bytes(hashlib.sha256(bytes(str(architecture.indices), "ascii")).digest()[:4], "big")
        return self._actors[home % len(self._actors)]
