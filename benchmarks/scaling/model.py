"""Compute the time of searches and trainings on many evaluators and workers from the time of their parts, without Ray.

Searches are simulated event by event. An island is one trial. It asks for a generation, sends each evaluator its
share, waits for all of them, writes the generation, reports it to Ray Tune and goes on. An evaluator measures the
shares of all islands in their order of arrival. Tune takes reports one after another, too. Every evaluator and every
trial has its own core. The simulation has no start-up and no failures.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count, pairwise
from typing import NamedTuple

import numpy as np
from scipy.optimize import nnls

from raynas.evaluation.actors import assign_by_prefix
from raynas.evaluation.prefix_tree import Prefix
from raynas.evaluation.request import Indices
from search_spaces import Architecture, Costs

GAIN = 0.1
"""A search stops scaling if twice the evaluators gain less than this."""


@dataclass(frozen=True)
class Overheads:
    """The seconds of a generation besides the measuring.

    Attributes:
        search: the search's ask, tell and state.
        request: a request to the evaluators.
        architecture: added to a request by each architecture.
        actor: added to a request by each evaluator, one after another.
        write: writing the files of the table and of the state.
        report: the report to Tune.
    """

    search: float = 0.0
    request: float = 0.0
    architecture: float = 0.0
    actor: float = 0.0
    write: float = 0.0
    report: float = 0.0

    def request_seconds(self, architectures: int, actors: int) -> float:
        """Return the seconds of a request if measuring costs nothing."""
        return self.request + self.architecture * architectures + self.actor * actors


@dataclass(frozen=True)
class Starts:
    """The seconds of the start of evaluators.

    Attributes:
        first: until one evaluator answers.
        further: added by each further evaluator on one machine, whose cores they share.
        create: time of the creating process for each further evaluator, one after another.
        weights: reading and verifying the file of the weights.
    """

    first: float
    further: float
    create: float
    weights: float

    def on_own_cores(self, actors: int) -> float:
        """Return the start of evaluators with a core each. Storage is as fast for each as on this machine."""
        return self.first + self.create * (actors - 1) + self.weights


class GenerationWork(NamedTuple):
    """The work of each evaluator in a generation; 1 is an average architecture alone. None: no architecture for it."""

    architectures: int
    work: Sequence[float | None]

    def by_evaluator(self) -> dict[int, float]:
        """Return the work of the evaluators that have architectures."""
        return {actor: work for actor, work in enumerate(self.work) if work is not None}


@dataclass(frozen=True)
class Generation:
    """The architectures of a generation.

    Attributes:
        macs: the multiply-adds of each architecture, by which evaluators share the architectures.
        paths: the keys of each path's segments, as in `raynas.evaluation.prefix_tree`.
        work: the work of each architecture alone; 1 on average.
    """

    macs: Mapping[Indices, float]
    paths: Mapping[Indices, Prefix]
    work: Mapping[Indices, float]

    def assigned(self, actors: int) -> GenerationWork:
        """Return the work of evaluators that share the generation as those of a run do.

        An evaluator computes shared prefixes of its paths once. All segments of a path count the same.
        """
        assigned = assign_by_prefix(self.macs, actors)
        work: list[float | None] = [None] * actors
        for actor in set(assigned.values()):
            keys = sorted(key for key, number in assigned.items() if number == actor)
            shares = new_shares([self.paths[key] for key in keys])
            work[actor] = sum(self.work[key] * share for key, share in zip(keys, shares, strict=True))
        return GenerationWork(len(self.macs), work)


def macs_of(space_costs: Costs, architectures: Sequence[Architecture]) -> dict[Indices, float]:
    """Return the multiply-adds of architectures, by their option indices."""
    values = space_costs.cost(architectures)["macs"].tolist()
    return {architecture.indices: macs for architecture, macs in zip(architectures, values, strict=True)}


def new_shares(paths: Sequence[Prefix]) -> list[float]:
    """Return the share of each path's segments that are not a prefix of an earlier path."""
    seen: set[Prefix] = set()
    shares = []
    for path in paths:
        prefixes = {path[: length + 1] for length in range(len(path))}
        shares.append(len(prefixes - seen) / len(path))
        seen |= prefixes
    return shares


def simulate(
    islands: Sequence[Sequence[GenerationWork]],
    seconds: float,
    overheads: Overheads,
    begins: Sequence[float] | None = None,
) -> float:
    """Return the second at which the last island has reported its last generation.

    Args:
        islands: the generations of each island.
        seconds: the average time of an architecture alone.
        begins: the second at which each island asks for its first generation; 0 by default.
    """
    order = count()
    events: list[tuple[float, int, int, int]] = []
    for island, begin in enumerate(begins or [0.0] * len(islands)):
        heapq.heappush(events, (begin, next(order), island, _ASK))
    done = [0] * len(islands)
    waiting, answered = [0] * len(islands), [0.0] * len(islands)
    free = [0.0] * max((len(generation.work) for generations in islands for generation in generations), default=0)
    tune = end = 0.0
    while events:
        now, _, island, event = heapq.heappop(events)
        if event == _ASK:
            if done[island] == len(islands[island]):
                end = max(end, now)
                continue
            generation = islands[island][done[island]]
            actors = generation.by_evaluator()
            waiting[island], answered[island] = len(actors), 0.0
            sent = now + overheads.search + overheads.request_seconds(generation.architectures, 0)
            for number, actor in enumerate(actors, start=1):
                heapq.heappush(events, (sent + overheads.actor * number, next(order), island, actor))
        elif event == _REPORT:
            tune = max(tune, now) + overheads.report
            done[island] += 1
            heapq.heappush(events, (tune, next(order), island, _ASK))
        else:
            actor = event
            free[actor] = max(free[actor], now) + seconds * islands[island][done[island]].by_evaluator()[actor]
            answered[island] = max(answered[island], free[actor])
            waiting[island] -= 1
            if not waiting[island]:
                heapq.heappush(events, (answered[island] + overheads.write, next(order), island, _REPORT))
    return end


_ASK, _REPORT = -1, -2
"""Events. The arrival of a request at an evaluator is the evaluator's number."""


def stops_at(speeds: Mapping[int, float]) -> int | None:
    """Return the smallest number of evaluators at which twice as many gain less than `GAIN`; None if there is none."""
    numbers = sorted(speeds)
    return next((few for few, many in pairwise(numbers) if speeds[many] < (1 + GAIN) * speeds[few]), None)


@dataclass(frozen=True)
class TrainingCosts:
    """The parts of a data-parallel training step.

    Attributes:
        step: seconds of one worker for any batch.
        image: seconds of one worker for each of its images.
        latency: seconds of one message of an all-reduce.
        bandwidth: bytes per second of an all-reduce.
        starts: seconds of the start of a group of one worker, of two, and so on; larger groups start like the last.
    """

    step: float
    image: float
    latency: float
    bandwidth: float
    starts: Sequence[float]

    def step_seconds(self, workers: int, batch_size: int, nbytes: float) -> float:
        """Return the seconds of a training step. The workers share the global batch; the largest share counts."""
        images = -(-batch_size // workers)
        return self.step + self.image * images + all_reduce(workers, nbytes, self.latency, self.bandwidth)

    def start(self, workers: int) -> float:
        """Return the seconds of the start of a group of workers."""
        return self.starts[min(workers, len(self.starts)) - 1]


def all_reduce(workers: int, nbytes: float, latency: float, bandwidth: float) -> float:
    """Return the seconds of a ring all-reduce: 2 (n - 1) messages one after another, each of 1/n of the bytes."""
    return 2 * (workers - 1) * (latency + nbytes / workers / bandwidth)


def fit_line(points: Sequence[Sequence[float]]) -> list[float]:
    """Fit the last column by a constant and the other columns: least squares of the relative errors.

    Returns:
        The constant and one coefficient for each column, none below 0.
    """
    table = np.array(points, dtype=float)
    values = table[:, -1]
    inputs = np.column_stack([np.ones(len(table)), table[:, :-1]]) / values[:, None]
    scales = inputs.max(axis=0)
    coefficients, _ = nnls(inputs / scales, np.ones(len(table)))
    return [float(value) for value in coefficients / scales]
