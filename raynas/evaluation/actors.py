"""The evaluators of a run: named Ray actors that live on between its steps. They are restarted when they die.

Each call names the oracle of its step, so a restarted evaluator needs only its arguments. An evaluator computes each
measurement of a step once.
"""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import takewhile
from typing import Any

import numpy as np
import ray

from raynas.cluster.devices import resources_per_process
from raynas.evaluation.request import Evaluators, Indices, LoadedOracle, Oracle
from raynas.interfaces.searcher import Evaluation
from raynas.recipe.settings import ScaleSettings
from raynas.runtime.process import NAMESPACE, prepare_process
from raynas.storage import lock
from raynas.storage.errors import StepFailed
from raynas.storage.portable import Reference
from raynas.storage.run_folder import RunFolder, digest
from search_spaces import Architecture, Budget, Costs
from search_spaces.errors import format_count

_CONTROL_THREAD = "control"
"""The concurrency group of the calls that an evaluator answers while it measures."""


class EvaluatorActor:
    """One evaluator: an oracle, and every measurement with it. The first of a run also assigns the architectures."""

    def __init__(self, run: str, attempt: int, threads: int, deterministic: bool) -> None:
        self._prepare = partial(prepare_process, threads, deterministic)
        self._prepare()
        lock.note_process(RunFolder(run), attempt)
        self._oracle: LoadedOracle | None = None
        self._loaded = ""
        self._measured: dict[tuple[str | None, Indices, int | None], dict[str, Any]] = {}
        self._assigned: dict[Indices, int] = {}
        self._assigned_for = ""

    @ray.method
    def evaluate(
        self, request: dict[str, Any], architectures: list[Indices], weights: str | None, images: int | None = None
    ) -> list[dict[str, Any]]:
        """Return the figures of architectures, each measured once.

        Args:
            request: the step and its `oracle`, as JSON. The oracle is loaded if the call before had another request.
            weights: the file of the weights in the run folder.
            images: the number of images, the first of a fixed order; None for all images.
        """
        self._prepare()  # torch counts threads per thread, and Ray may call from another thread than it began with
        loaded = self._load(request)
        missing = [each for each in dict.fromkeys(architectures) if (weights, each, images) not in self._measured]
        figures = loaded.evaluate(missing, weights, images) if missing else []
        self._measured |= {(weights, each, images): found for each, found in zip(missing, figures, strict=True)}
        return [self._measured[weights, each, images] for each in architectures]

    def _load(self, request: dict[str, Any]) -> LoadedOracle:
        if self._oracle is None or self._loaded != digest(request):
            self._oracle, self._measured = None, {}
            gc.collect()
            self._oracle = Oracle.restore(Reference.model_validate(request["oracle"])).load()
            self._loaded = digest(request)
        return self._oracle

    @ray.method(concurrency_group=_CONTROL_THREAD)
    def assign_actors(
        self, request: dict[str, Any], architectures: list[Indices], macs: list[float], actors: int
    ) -> list[int]:
        """Return the number of the evaluator that measures each architecture: always the same for one request."""
        if self._assigned_for != digest(request):
            self._assigned, self._assigned_for = {}, digest(request)
        pairs = zip(architectures, macs, strict=True)
        new = {indices: cost for indices, cost in pairs if indices not in self._assigned}
        self._assigned |= assign_by_prefix(new, actors)
        return [self._assigned[indices] for indices in architectures]

    @ray.method(concurrency_group=_CONTROL_THREAD)
    def measured(self) -> int:
        """Return the number of measurements of this process for the step."""
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
def start_evaluators(run: str, group: str, attempt: int, scale: ScaleSettings) -> Iterator[tuple[str, ...]]:
    """Keep the evaluators of a run alive. Yields their names; any process of the run can look them up.

    The attempt is a part of the name: on a joined cluster the evaluators of a killed driver may live for seconds.

    Args:
        group: a name for these evaluators among all of the attempt. An ended actor keeps its name for a moment.
    """
    remote: Callable[..., Any] = ray.remote
    actor_class = remote(concurrency_groups={_CONTROL_THREAD: 1})(EvaluatorActor)
    resources = resources_per_process(scale.evaluate)
    tag = hashlib.sha256(run.encode()).hexdigest()[:8]
    names = tuple(f"raynas-{tag}-{group}-{attempt}-{number}" for number in range(scale.evaluate.actors))
    actors: list[Any] = [
        actor_class.options(
            name=name,
            namespace=NAMESPACE,
            num_cpus=resources.get("CPU", 0),
            num_gpus=resources.get("GPU", 0),
            memory=resources.get("memory"),
            max_restarts=-1,
            max_task_retries=-1,
        ).remote(run, attempt, scale.evaluate.threads, scale.deterministic)
        for name in names
    ]
    try:
        yield names
    finally:
        for actor in actors:
            ray.kill(actor)


class EvaluatorPool:
    """The evaluators of a step, as one process sees them. The same architecture always goes to the same evaluator."""

    def __init__(self, evaluators: Evaluators, costs: Costs, budget: Budget) -> None:
        self._actors = [ray.get_actor(name, NAMESPACE) for name in evaluators.names]
        self._request = evaluators.model_dump(mode="json", include={"step", "oracle"})
        self._weights = evaluators.weights
        self._costs = costs
        self._budget = budget

    def evaluate(
        self, architectures: Sequence[Architecture], weights: str | None = None, images: int | None = None
    ) -> list[Evaluation]:
        """Return one evaluation for each architecture, in order, with its costs.

        Args:
            weights: a file in the run folder; None for the weights of the step's request.
            images: the number of images, the first of a fixed order; None for all images.
        """
        costs = self._costs.cost(architectures)
        indices = [architecture.indices for architecture in architectures]
        numbers: list[int] = ray.get(
            self._actors[0].assign_actors.remote(self._request, indices, costs["macs"].tolist(), len(self._actors))
        )
        shares: dict[int, list[Indices]] = {}
        for choices, number in zip(indices, numbers, strict=True):
            shares.setdefault(number, []).append(choices)
        file = weights or self._weights
        pending = [
            self._actors[number].evaluate.remote(self._request, share, file, images) for number, share in shares.items()
        ]
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
            count = (
                f"None of {format_count(len(evaluations), 'architecture')}"
                if len(evaluations) > 1
                else "The architecture"
            )
            verb = "can" if len(evaluations) > 1 else "cannot"
            raise StepFailed(f"{count} {verb} be measured: {evaluations[0].failure}.")
        return evaluations
