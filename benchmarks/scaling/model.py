"""What searches and trainings take on many actors and workers, from what little parts take: arithmetic, nothing of Ray.

Searches are simulated event by event. An island is one trial: it asks for a generation, sends each actor its share,
waits for all of them, writes the generation down, reports it to Ray Tune and goes on. An actor answers one question
after another in the order in which they come, whoever asks; Tune takes reports one after another, too. Every actor and
every trial has a core of its own. Start-up is not part of a search here, nor is what fails.
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
"""What doubling the actors has to gain at least, or the search has stopped scaling."""


@dataclass(frozen=True)
class Overheads:
    """What a generation takes besides its architectures, in seconds.

    Attributes:
        search: the search's own: ask, tell and state.
        question: asking the actors, once.
        architecture: asking, for each architecture.
        actor: asking, for each actor, one after another.
        write: the table's file and the state's.
        report: telling Tune.
    """

    search: float = 0.0
    question: float = 0.0
    architecture: float = 0.0
    actor: float = 0.0
    write: float = 0.0
    report: float = 0.0

    def asking(self, architectures: int, actors: int) -> float:
        """What a question takes that is answered at once."""
        return self.question + self.architecture * architectures + self.actor * actors


@dataclass(frozen=True)
class Starts:
    """How supernet actors start, in seconds.

    Attributes:
        first: until one actor answers.
        further: what each one more adds to that on one machine, whose cores they share.
        create: what each one more takes of the process that asks for it, one after another.
        weights: reading and verifying the file of the weights.
    """

    first: float
    further: float
    create: float
    weights: float

    def apart(self, actors: int) -> float:
        """The start of so many actors, each with a core of its own and its weights from storage as fast as here."""
        return self.first + self.create * (actors - 1) + self.weights


class Generation(NamedTuple):
    """How many architectures are asked for, and each actor's work: 1 is what an architecture alone takes on average.

    Where there is None, nothing is asked of the actor.
    """

    architectures: int
    work: Sequence[float | None]

    def asked(self) -> dict[int, float]:
        """The work of those actors that are asked."""
        return {actor: work for actor, work in enumerate(self.work) if work is not None}


@dataclass(frozen=True)
class Asked:
    """The architectures of a generation.

    Attributes:
        macs: multiply-adds of each, by which they are shared out.
        paths: the keys of each one's stages, as `raynas.evaluation.prefix_tree` has them.
        work: of each where it is computed alone; 1 on average.
    """

    macs: Mapping[Indices, float]
    paths: Mapping[Indices, Prefix]
    work: Mapping[Indices, float]

    def on(self, actors: int) -> Generation:
        """The generation shared out over so many actors, as the engine does it.

        What an actor's architectures have in common is computed once, and each stage of a path counts the same.
        """
        homes = assign_by_prefix(self.macs, actors)
        work: list[float | None] = [None] * actors
        for actor in set(homes.values()):
            mine = sorted(one for one, home in homes.items() if home == actor)
            new = added([self.paths[one] for one in mine])
            work[actor] = sum(self.work[one] * share for one, share in zip(mine, new, strict=True))
        return Generation(len(self.macs), work)


def macs_of(space_costs: Costs, architectures: Sequence[Architecture]) -> dict[tuple[int, ...], float]:
    """The multiply-adds of architectures, by their option indices."""
    values = space_costs.cost(architectures)["macs"].tolist()
    return {one.indices: value for one, value in zip(architectures, values, strict=True)}


def added(paths: Sequence[Prefix]) -> list[float]:
    """The share of each path's stages that no path before it has in common with it, from the first stage on."""
    seen: set[Prefix] = set()
    shares = []
    for path in paths:
        prefixes = {path[: length + 1] for length in range(len(path))}
        shares.append(len(prefixes - seen) / len(path))
        seen |= prefixes
    return shares


def simulate(
    islands: Sequence[Sequence[Generation]],
    seconds: float,
    overheads: Overheads,
    begins: Sequence[float] | None = None,
) -> float:
    """When the last island has reported its last generation, in seconds.

    Args:
        islands: the generations of each.
        seconds: what an architecture alone takes on average.
        begins: when each island asks for its first generation; all at 0 where it is not given.
    """
    order = count()
    events: list[tuple[float, int, int, int]] = []
    for island, begin in enumerate(begins or [0.0] * len(islands)):
        heapq.heappush(events, (begin, next(order), island, _ASK))
    done = [0] * len(islands)
    waiting, answered = [0] * len(islands), [0.0] * len(islands)
    free = [0.0] * max((len(one.work) for generations in islands for one in generations), default=0)
    tune = end = 0.0
    while events:
        now, _, island, what = heapq.heappop(events)
        if what == _ASK:
            if done[island] == len(islands[island]):
                end = max(end, now)
                continue
            asked = islands[island][done[island]]
            actors = asked.asked()
            waiting[island], answered[island] = len(actors), 0.0
            sent = now + overheads.search + overheads.asking(asked.architectures, 0)
            for number, actor in enumerate(actors, start=1):
                heapq.heappush(events, (sent + overheads.actor * number, next(order), island, actor))
        elif what == _REPORT:
            tune = max(tune, now) + overheads.report
            done[island] += 1
            heapq.heappush(events, (tune, next(order), island, _ASK))
        else:
            free[what] = max(free[what], now) + seconds * islands[island][done[island]].asked()[what]
            answered[island] = max(answered[island], free[what])
            waiting[island] -= 1
            if not waiting[island]:
                heapq.heappush(events, (answered[island] + overheads.write, next(order), island, _REPORT))
    return end


_ASK, _REPORT = -1, -2
"""Events that are not a question's coming to an actor, which is told by the actor's number."""


def stops_at(speeds: Mapping[int, float]) -> int | None:
    """The least number of actors at which twice as many gain less than `GAIN`; None where none of these is."""
    numbers = sorted(speeds)
    return next((few for few, many in pairwise(numbers) if speeds[many] < (1 + GAIN) * speeds[few]), None)


@dataclass(frozen=True)
class TrainingCosts:
    """A data-parallel training step's parts, in seconds and bytes.

    Attributes:
        step: of one worker, whatever the batch.
        image: of one worker, for each of its images.
        latency: of one message of an all-reduce.
        bandwidth: of an all-reduce, bytes a second.
        starts: of a group of one worker, of two, and so on; larger groups start as the last of these does.
    """

    step: float
    image: float
    latency: float
    bandwidth: float
    starts: Sequence[float]

    def step_seconds(self, workers: int, batch_size: int, nbytes: float) -> float:
        """A step on a global batch that the workers share, the fullest share counts."""
        images = -(-batch_size // workers)
        return self.step + self.image * images + all_reduce(workers, nbytes, self.latency, self.bandwidth)

    def start(self, workers: int) -> float:
        return self.starts[min(workers, len(self.starts)) - 1]


def all_reduce(workers: int, nbytes: float, latency: float, bandwidth: float) -> float:
    """Seconds of a ring all-reduce: 2 (n - 1) messages one after another, each of the n-th part of the bytes."""
    return 2 * (workers - 1) * (latency + nbytes / workers / bandwidth)


def line(points: Sequence[Sequence[float]]) -> list[float]:
    """Fit the last column by a constant and the columns before it: least squares of what is off as a share of it.

    Returns:
        The constant and one coefficient a column, none below 0.
    """
    table = np.array(points, dtype=float)
    taken = table[:, -1]
    inputs = np.column_stack([np.ones(len(table)), table[:, :-1]]) / taken[:, None]
    scales = inputs.max(axis=0)
    found, _ = nnls(inputs / scales, np.ones(len(table)))
    return [float(value) for value in found / scales]
