"""The evaluators of a step: named Ray actors that all its trials share. They are restarted when they die.

An evaluator gets paths and settings, never arrays, so a restarted evaluator needs only its arguments. It computes each
measurement once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import takewhile
from typing import Any

import numpy as np
import ray

from raynas.cluster.devices import resources_per_process
from raynas.evaluation.request import EvaluationRequest, Indices, Oracle
from raynas.interfaces.searcher import Evaluation
from raynas.recipe.settings import ScaleSettings
from raynas.runtime.process import NAMESPACE, prepare_process
from raynas.storage import lock
from raynas.storage.errors import StepFailed
from raynas.storage.portable import Reference
from raynas.storage.run_folder import RunFolder
from search_spaces import Architecture, Budget, Costs

_CONTROL_THREAD = "control"
"""The concurrency group of the calls that an evaluator answers while it measures."""


class EvaluatorActor:
    """One evaluator: an oracle, and every measurement so far. The first of a step also assigns the architectures."""

    def __init__(
        self, run: str, attempt: int, oracle: dict[str, Any], weights: str | None, threads: int, deterministic: bool
    ) -> None:
        self._prepare = partial(prepare_process, threads, deterministic)
        self._prepare()
        lock.note_process(RunFolder(run), attempt)
        self._oracle = Oracle.restore(Reference.model_validate(oracle)).load()
        self._weights = weights
        self._measured: dict[tuple[str | None, Indices, int | None], dict[str, Any]] = {}
        self._assigned: dict[Indices, int] = {}

    @ray.method
    def evaluate(
        self, architectures: list[Indices], weights: str | None = None, images: int | None = None
    ) -> list[dict[str, Any]]:
        """Return the figures of architectures, each measured once.

        Args:
            weights: the file of the weights in the run folder; None for the weights of the request.
            images: the number of images, the first of a fixed order; None for all images.
        """
        self._prepare()  # torch counts threads per thread, and Ray may call from another thread than it began with
        file = weights or self._weights
        missing = [indices for indices in dict.fromkeys(architectures) if (file, indices, images) not in self._measured]
        figures = self._oracle.evaluate(missing, file, images) if missing else []
        self._measured |= {(file, indices, images): found for indices, found in zip(missing, figures, strict=True)}
        return [self._measured[file, indices, images] for indices in architectures]

    @ray.method(concurrency_group=_CONTROL_THREAD)
    def assign_actors(self, architectures: list[Indices], macs: list[float], actors: int) -> list[int]:
        """Return the number of the evaluator that measures each architecture: always the same evaluator."""
        pairs = zip(architectures, macs, strict=True)
        new = {indices: cost for indices, cost in pairs if indices not in self._assigned}
        self._assigned |= assign_by_prefix(new, actors)
        return [self._assigned[indices] for indices in architectures]

    @ray.method(concurrency_group=_CONTROL_THREAD)
    def measured(self) -> int:
        """Return the number of measurements of this process."""
        return len(self._measured)


def assign_by_prefix(macs: Mapping[Indices, float], actors: int) -> dict[Indices, int]:
    """Assign architectures to evaluators: equal work for each, and long common prefixes together.

    In the order of their indices, neighbours share the longest prefixes. The work that an architecture adds to the one
    before it is taken as its multiply-adds times the share of its choices after the common prefix.
    """
    order = sorted(macs)
    added = [
        macs[indices] * (1 - _common_prefix(before, indices) / len(indices))
        for before, indices in zip([(), *order], order, strict=False)
    ]
    middles = np.cumsum(added) - np.array(added) / 2
    numbers = np.minimum(middles * actors // max(sum(added), 1e-9), actors - 1).astype(int)
    return dict(zip(order, numbers.tolist(), strict=True))


def _common_prefix(first: Indices, second: Indices) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))


@contextmanager
def start_evaluators(
    run: str, step: str, attempt: int, request: EvaluationRequest, scale: ScaleSettings
) -> Iterator[tuple[str, ...]]:
    """Keep the evaluators of one step alive. Yields their names; any process of the run can look them up.

    The attempt is a part of the name: on a joined cluster the evaluators of a killed driver may live for seconds.
    """
    remote: Callable[..., Any] = ray.remote
    actor_class = remote(concurrency_groups={_CONTROL_THREAD: 1})(EvaluatorActor)
    resources = resources_per_process(scale.evaluate)
    tag = hashlib.sha256(run.encode()).hexdigest()[:8]
    names = tuple(f"raynas-{tag}-{step}-{attempt}-{number}" for number in range(scale.evaluate.actors))
    oracle = request.oracle.reference().model_dump(mode="json")
    actors: list[Any] = [
        actor_class.options(
            name=name,
            namespace=NAMESPACE,
            num_cpus=resources.get("CPU", 0),
            num_gpus=resources.get("GPU", 0),
            memory=resources.get("memory"),
            max_restarts=-1,
            max_task_retries=-1,
        ).remote(run, attempt, oracle, request.weights, scale.evaluate.threads, scale.deterministic)
        for name in names
    ]
    try:
        yield names
    finally:
        for actor in actors:
            ray.kill(actor)


class EvaluatorPool:
    """The evaluators of a step, as one process sees them. The same architecture always goes to the same evaluator."""

    def __init__(self, names: Sequence[str], costs: Costs, budget: Budget) -> None:
        self._actors = [ray.get_actor(name, NAMESPACE) for name in names]
        self._costs = costs
        self._budget = budget

    def evaluate(
        self, architectures: Sequence[Architecture], weights: str | None = None, images: int | None = None
    ) -> list[Evaluation]:
        """Return one evaluation for each architecture, in order, with its costs.

        Args:
            weights: a file in the run folder; None for the weights of the evaluators' request.
            images: the number of images, the first of a fixed order; None for all images.
        """
        costs = self._costs.cost(architectures)
        indices = [architecture.indices for architecture in architectures]
        numbers: list[int] = ray.get(
            self._actors[0].assign_actors.remote(indices, costs["macs"].tolist(), len(self._actors))
        )
        shares: dict[int, list[Indices]] = {}
        for choices, number in zip(indices, numbers, strict=True):
            shares.setdefault(number, []).append(choices)
        pending = [self._actors[number].evaluate.remote(share, weights, images) for number, share in shares.items()]
        feasible = self._budget.met(costs).tolist()
        rows = [dict(zip(costs, row, strict=True)) for row in zip(*(v.tolist() for v in costs.values()), strict=True)]
        measured: list[list[dict[str, Any]]] = ray.get(pending)
        figures = dict(zip(shares, map(iter, measured), strict=True))
        return [
            Evaluation(architecture, costs=row, feasible=met, **next(figures[number]))
            for architecture, row, met, number in zip(architectures, rows, feasible, numbers, strict=True)
        ]

    def measure(self, architectures: Sequence[Architecture], images: int | None = None) -> list[Evaluation]:
        """Evaluate architectures that the step cannot do without.

        Raises:
            StepFailed: if none of them can be measured.
        """
        evaluations = self.evaluate(architectures, images=images)
        if evaluations and all(evaluation.failure for evaluation in evaluations):
            count = f"None of {len(evaluations)} architectures" if len(evaluations) > 1 else "The architecture"
            verb = "can" if len(evaluations) > 1 else "cannot"
            raise StepFailed(f"{count} {verb} be measured: {evaluations[0].failure}.")
        return evaluations
