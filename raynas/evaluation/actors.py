"""The supernet actors: named, shared by every trial of a step, restarted when they die, each question answered once.

An actor is given paths and settings, never arrays, so that a restarted one needs nothing but its arguments.
"""

from __future__ import annotations

import hashlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import takewhile
from typing import Any

import numpy as np
import ray

from raynas.cluster.devices import bundle
from raynas.evaluation.evaluator import Answers, Question
from raynas.interfaces.searcher import Evaluation
from raynas.recipe.recipe import ScaleSettings
from raynas.runtime.process import prepare_process
from raynas.storage import lock
from raynas.storage.run_folder import RunFolder
from raynas.study.steps import StepFailed
from search_spaces import Architecture, Budget, Costs

NAMESPACE = "raynas"
Indices = tuple[int, ...]
"""An architecture, by its option indices."""


_DESK = "desk"
"""The thread of an actor that answers at once, whatever the actor computes."""


class SupernetActor:
    """One process that holds an `Answers` and remembers what it has answered.

    The first of a step's actors also knows which of them answers for which architecture.
    """

    def __init__(self, run: str, attempt: int, question: dict[str, Any], threads: int, deterministic: bool) -> None:
        self._prepare = partial(prepare_process, threads, deterministic)
        self._prepare()
        lock.note_process(RunFolder(run), attempt)
        asked = Question.model_validate(question)
        self._answers: Answers = pkgutil.resolve_name(asked.answers)(**asked.arguments)
        self._weights = asked.weights
        self._known: dict[tuple[str | None, Indices, int | None], dict[str, Any]] = {}
        self._homes: dict[Indices, int] = {}

    @ray.method
    def evaluate(
        self, asked: list[Indices], weights: str | None = None, images: int | None = None
    ) -> list[dict[str, Any]]:
        """The answers for these architectures, each worked out the first time that it is asked for.

        Args:
            weights: the file of the weights in the run folder, if they are others than those of the question.
            images: on how many, the first of them; on all where it is not given.
        """
        self._prepare()  # torch counts its threads by thread, and this need not be the one that the actor began in
        file = weights or self._weights
        unknown = [one for one in dict.fromkeys(asked) if (file, one, images) not in self._known]
        answers = self._answers.evaluate(unknown, file, images) if unknown else []
        self._known |= {(file, one, images): answer for one, answer in zip(unknown, answers, strict=True)}
        return [self._known[file, one, images] for one in asked]

    @ray.method(concurrency_group=_DESK)
    def homes(self, asked: list[Indices], macs: list[float], actors: int) -> list[int]:
        """Which of the step's actors answers for each architecture: always the same one."""
        new = {one: cost for one, cost in zip(asked, macs, strict=True) if one not in self._homes}
        self._homes |= share_out(new, actors)
        return [self._homes[one] for one in asked]

    @ray.method(concurrency_group=_DESK)
    def answered(self) -> int:
        """How many architectures this process has worked out."""
        return len(self._known)


def share_out(macs: Mapping[Indices, float], actors: int) -> dict[Indices, int]:
    """An actor for each architecture, so that those with long prefixes in common are together and all do as much.

    Neighbours in the order of their indices share the most. What an architecture adds to the one before it is taken to
    be its multiply-adds times the share of its choices that differ from the first difference on.
    """
    order = sorted(macs)
    added = [
        macs[one] * (1 - _shared(before, one) / len(one)) for before, one in zip([(), *order], order, strict=False)
    ]
    middles = np.cumsum(added) - np.array(added) / 2
    homes = np.minimum(middles * actors // max(sum(added), 1e-9), actors - 1).astype(int)
    return dict(zip(order, homes.tolist(), strict=True))


def _shared(first: Indices, second: Indices) -> int:
    """How many choices two architectures have in common from the first on."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))


@contextmanager
def evaluators(run: str, step: str, attempt: int, question: Question, scale: ScaleSettings) -> Iterator[list[str]]:
    """Keep `scale.evaluators` actors for one step; the value is their names, which any process of the run may call.

    The attempt is part of the name, as the actors of a killed driver may live on for seconds in a joined cluster.
    """
    remote: Callable[..., Any] = ray.remote
    actor_class = remote(concurrency_groups={_DESK: 1})(SupernetActor)
    asked = bundle(scale, cpus=0)
    tag = hashlib.sha256(run.encode()).hexdigest()[:8]
    names = [f"raynas-{tag}-{step}-{attempt}-{number}" for number in range(scale.evaluators)]
    actors: list[Any] = [
        actor_class.options(
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
    """The actors of a step as one process sees them.

    An architecture is always asked of the same actor, whoever asks, and those that are alike of the same.
    """

    def __init__(self, names: Sequence[str], costs: Costs, budget: Budget) -> None:
        self._actors = [ray.get_actor(name, NAMESPACE) for name in names]
        self._costs = costs
        self._budget = budget

    def evaluate(
        self, architectures: Sequence[Architecture], weights: str | None = None, images: int | None = None
    ) -> list[Evaluation]:
        """One evaluation an architecture, in the order asked; costs are looked up here.

        Args:
            weights: a file in the run folder, if other weights are meant than those of the actors' question.
            images: on how many, the first of them; on all where it is not given.
        """
        costs = self._costs.cost(architectures)
        indices = [one.indices for one in architectures]
        homes: list[int] = ray.get(self._actors[0].homes.remote(indices, costs["macs"].tolist(), len(self._actors)))
        asked: dict[int, list[Indices]] = {}
        for one, home in zip(indices, homes, strict=True):
            asked.setdefault(home, []).append(one)
        pending = [self._actors[home].evaluate.remote(some, weights, images) for home, some in asked.items()]
        feasible = self._budget.met(costs).tolist()
        rows = [dict(zip(costs, row, strict=True)) for row in zip(*(v.tolist() for v in costs.values()), strict=True)]
        answered: list[list[dict[str, Any]]] = ray.get(pending)
        answers = dict(zip(asked, map(iter, answered), strict=True))
        return [
            Evaluation(one, costs=row, feasible=met, **next(answers[home]))
            for one, row, met, home in zip(architectures, rows, feasible, homes, strict=True)
        ]

    def measure(self, architectures: Sequence[Architecture], images: int | None = None) -> list[Evaluation]:
        """As `evaluate`, of architectures that a step cannot do without.

        Raises:
            StepFailed: if none of them can be measured.
        """
        evaluations = self.evaluate(architectures, images=images)
        if evaluations and all(one.failed for one in evaluations):
            count = f"None of {len(evaluations)} architectures" if len(evaluations) > 1 else "The architecture"
            verb = "can" if len(evaluations) > 1 else "cannot"
            raise StepFailed(f"{count} {verb} be measured: {evaluations[0].failed}.")
        return evaluations
