"""How far a search and a training scale: from what their parts take on this machine to 1,024 actors and 256 workers.

    python -m benchmarks.scaling

The parts are measured with real Ray (`benchmarks.scaling.costs`), what follows from them is worked out
(`benchmarks.scaling.model`), and the model is held against real searches with 1, 2 and 4 actors
(`benchmarks.scaling.check`). The architectures are those that real searches of 40 generations of 64, one seed an
island, ask for of an oracle that costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from statistics import mean
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.common.oracles import drive
from benchmarks.common.report import heading, picture, table
from benchmarks.common.timed_search import TimedNsga2
from benchmarks.scaling import costs
from benchmarks.scaling.check import REPEATS, SLEEP, compared, planned
from benchmarks.scaling.model import Asked, Overheads, Starts, TrainingCosts, all_reduce, macs_of, simulate, stops_at
from raynas.cluster import ray_session
from search_spaces import Budget, SearchSpace
from search_spaces.supernet import Supernet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SEED = 0
ACTORS = [2**power for power in range(11)]
WORKERS = [2**power for power in range(9)]
ISLANDS = (1, 2, 4, 8, 16)
SECONDS = (0.1, 10.0)
"""What an architecture alone takes on an actor."""
SPREAD = 0.25
"""The standard deviation of the logarithm of what architectures take that their multiply-adds do not explain."""
BATCH_SIZE = 256
STEPS = 10_000

Speeds = Mapping[tuple[float, int], Mapping[int, float]]
"""By seconds an architecture and islands, then by actors: how many times as fast as one actor is, island by island."""


def asked_for(space: SearchSpace, supernet: Supernet, searcher: TimedNsga2, seed: int) -> list[Asked]:
    """The generations of a real search, with the stages of its paths and a made spread of what they take."""
    oracle = costs.FreeAnswers(space)
    found = [one.architecture for one in drive(searcher.begin(space, oracle.costs, Budget({}), seed), oracle)]
    macs = macs_of(oracle.costs, found)
    noise = np.random.default_rng(seed).lognormal(-(SPREAD**2) / 2, SPREAD, len(found))
    paths = {one.indices: tuple(segment.key for segment in supernet.segments(one)) for one in found}
    average = mean(macs.values())
    work = {one.indices: macs[one.indices] / average * float(more) for one, more in zip(found, noise, strict=True)}
    size = searcher.population
    groups = [[one.indices for one in found[first : first + size]] for first in range(0, len(found), size)]
    return [Asked({one: macs[one] for one in group}, paths, work) for group in groups]


def speeds(
    islands: Sequence[Sequence[Asked]], overheads: Overheads
) -> tuple[dict[tuple[float, int], dict[int, float]], dict[tuple[float, int], float]]:
    """How fast searches are that share the actors; and the seconds of the first alone, by seconds and actors."""
    found: dict[tuple[float, int], dict[int, float]] = {key: {} for key in product(SECONDS, ISLANDS)}
    walls: dict[tuple[float, int], float] = {}
    alone: dict[tuple[float, int], float] = {}
    for actors in ACTORS:
        shared = [[generation.on(actors) for generation in island] for island in islands]
        for seconds, number in found:
            if actors == 1:
                alone[seconds, number] = sum(simulate([island], seconds, overheads) for island in shared[:number])
            wall = simulate(shared[:number], seconds, overheads)
            if number == 1:
                walls[seconds, actors] = wall
            found[seconds, number][actors] = alone[seconds, number] / wall
    return found, walls


def part_rows(
    starts: Starts, weights_bytes: float, overheads: Overheads, training: TrainingCosts
) -> Iterator[tuple[str, str]]:
    yield "first actor, until it answers", f"{starts.first:.2f} s"
    yield "each further actor on this machine", f"{starts.further:.2f} s"
    yield "creating a further actor, for who asks for it", _ms(starts.create)
    yield "asking the actors: once", _ms(overheads.question)
    yield "asking the actors: an architecture", _ms(overheads.architecture)
    yield "asking the actors: an actor", _ms(overheads.actor)
    yield "the search's ask, tell and state, a generation", _ms(overheads.search)
    yield "writing a generation's table and state", _ms(overheads.write)
    yield "the rest of a generation: Tune's report", _ms(overheads.report)
    rate = weights_bytes / starts.weights / 1e6
    yield f"reading and verifying weights of {weights_bytes / 1e6:.1f} MB", f"{_ms(starts.weights)} ({rate:.0f} MB/s)"
    yield "start of a group of 1 worker; of 2", "; ".join(f"{one:.1f} s" for one in training.starts)
    yield "a training step: once; an image", f"{_ms(training.step)}; {_ms(training.image)}"
    yield "all-reduce: a message; bandwidth", f"{_ms(training.latency)}; {training.bandwidth / 1e6:.0f} MB/s"


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"


def asking_rows(asked: Iterable[tuple[int, int, float]], overheads: Overheads) -> Iterator[list[str]]:
    for architectures, actors, seconds in asked:
        by_line = overheads.asking(architectures, actors)
        yield [str(architectures), str(actors), *(f"{1000 * one:.2f}" for one in (seconds, by_line))]


def group_rows(groups: Mapping[int, costs.Group], training: TrainingCosts, nbytes: float) -> Iterator[list[str]]:
    for number, size in enumerate(costs.REDUCED_BYTES):
        made = all_reduce(2, size, training.latency, training.bandwidth)
        seconds = [groups[1].reduced[number], groups[2].reduced[number], made]
        yield [f"all-reduce of {size:,} bytes", *(f"{1000 * one:.3f}" for one in seconds)]
    for number, images in enumerate(costs.LOCAL_BATCHES):
        seconds = [groups[1].steps[number], groups[2].steps[number], training.step_seconds(2, 2 * images, nbytes)]
        yield [f"step, {images} images a worker", *(f"{1000 * one:.1f}" for one in seconds)]


def sharing_rows(generations: Sequence[Asked]) -> Iterator[list[str]]:
    """What of the work of a generation is left when what an actor's architectures have in common is computed once."""
    for actors in ACTORS:
        on = [generations[number].on(actors) for number in (0, -1)]
        whole = [sum(generations[number].work[one] for one in generations[number].macs) for number in (0, -1)]
        works = [one.asked().values() for one in on]
        left = [f"{100 * sum(work) / all_of_it:.0f}" for work, all_of_it in zip(works, whole, strict=True)]
        busiest = [f"{max(work):.2f}" for work in works]
        yield [str(actors), *left, *busiest, str(len(works[-1]))]


def speed_rows(
    seconds: float, found: Speeds, walls: Mapping[tuple[float, int], float], starts: Starts
) -> Iterator[list[str]]:
    for actors in ACTORS:
        one, *more = (found[seconds, islands][actors] for islands in ISLANDS)
        start, wall = starts.apart(actors), walls[seconds, actors]
        started = (starts.apart(1) + walls[seconds, 1]) / (start + wall)
        efficiency = f"{100 * one / actors:.0f}"
        figures = [f"{figure:.1f}" for figure in (start, wall, started, one)]
        yield [str(actors), *figures, efficiency, *(f"{many:.1f}" for many in more)]


def stop_rows(found: Speeds) -> Iterator[list[str]]:
    for (seconds, islands), by_actors in found.items():
        stop = stops_at(by_actors)
        best = max(by_actors, key=lambda actors: by_actors[actors])
        at = ["never here", ""] if stop is None else [str(stop), f"{by_actors[stop]:.1f}"]
        yield [f"{seconds:g}", str(islands), *at, f"{by_actors[best]:.1f}", str(best)]


def training_rows(training: TrainingCosts, nbytes: float) -> Iterator[list[str]]:
    alone = training.step_seconds(1, BATCH_SIZE, nbytes)
    whole_alone = training.start(1) + STEPS * alone
    for workers in WORKERS:
        step = training.step_seconds(workers, BATCH_SIZE, nbytes)
        reduced = all_reduce(workers, nbytes, training.latency, training.bandwidth)
        whole = training.start(workers) + STEPS * step
        figures = [f"{1000 * one:.1f}" for one in (step, reduced)]
        yield [
            str(workers),
            *figures,
            f"{alone / step:.1f}",
            f"{100 * alone / step / workers:.0f}",
            f"{whole / 60:.1f}",
            f"{whole_alone / whole:.1f}",
        ]


def plot(found: Speeds, training: TrainingCosts, nbytes: float) -> Figure:
    """Speed-up over actors, a panel for each time that an architecture takes, and over training workers."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    *panels, last = figure.subplots(1, len(SECONDS) + 1)
    for panel, seconds in zip(panels, SECONDS, strict=True):
        for islands in ISLANDS:
            panel.plot(ACTORS, list(found[seconds, islands].values()), marker=".", label=f"{islands} in flight")
        panel.plot(ACTORS, ACTORS, "k:", label="as many times as actors")
        panel.set(title=f"search, {seconds:g} s an architecture", xlabel="actors", ylabel="speed-up")
    alone = training.step_seconds(1, BATCH_SIZE, nbytes)
    last.plot(WORKERS, [alone / training.step_seconds(one, BATCH_SIZE, nbytes) for one in WORKERS], marker=".")
    last.plot(WORKERS, WORKERS, "k:")
    last.set(title=f"training, a batch of {BATCH_SIZE}", xlabel="workers", ylabel="speed-up of a step")
    for panel in figure.axes:
        panel.set_xscale("log", base=2)
        panel.set_yscale("log", base=2)
        panel.xaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_major_formatter("{x:g}")
    panels[0].legend(fontsize="small")
    return figure


def main() -> None:
    heading("How far a search and a training scale", f"{SEED} to {SEED + ISLANDS[-1] - 1}, one an island")
    space = planned(1).space
    supernet = space.supernet()
    weights_bytes = float(sum(tensor.nbytes for tensor in supernet.state_dict().values()))
    searcher, shorter = TimedNsga2(), TimedNsga2(generations=8)
    with ray_session.connect():
        groups = {workers: costs.group(workers) for workers in costs.WORKERS}
        starts = costs.actor_starts(weights_bytes)
        asked = costs.askings(space)
        overheads = costs.overheads(asked, costs.FreeAnswers(space))
        checked = list(compared(overheads, shorter))
    training, nbytes = costs.training_costs(groups), costs.path_bytes()
    islands = [asked_for(space, supernet, searcher, SEED + island) for island in range(ISLANDS[-1])]
    found, walls = speeds(islands, overheads)

    print("### What the parts take here\n")
    table(["part", "median"], part_rows(starts, weights_bytes, overheads, training))
    print("`Pool.evaluate` of actors that answer at once, in ms: measured, and by the fitted line. Beyond")
    print(f"{max(costs.ACTORS)} actors the calls go to {max(costs.ACTORS)} processes in turn.\n")
    table(["architectures", "actors", "ms", "line"], asking_rows(asked, overheads))
    print("All-reduces by gloo on this machine's loopback, and a step of the same path, whose gradients are")
    print(f"{nbytes / 1e6:.1f} MB on average; in ms: of one worker, of two, and what the model says of two.\n")
    table(["", "1 worker", "2 workers", "model of 2"], group_rows(groups, training, nbytes))

    size = f"{shorter.generations} generations of {shorter.population}"
    print("### The model beside what this machine does\n")
    print(f"{REPEATS} searches each of {size}, whose actors sleep {SLEEP} s an architecture. In seconds: `start`,")
    print("which is not modelled, until the first generation is asked for; from there until the last is reported,")
    print("the least, the median and the greatest, and the median as simulated, with islands that begin when they")
    print("did. `off`: the median error of the simulation in per cent.\n")
    table(["actors", "islands", "start", "least", "median", "greatest", "simulated", "off"], checked)

    size = f"{searcher.generations} generations of {searcher.population}"
    print("### A search\n")
    print(f"{size}. An actor computes once what its architectures have in common: what is left of the work, in")
    print("per cent, and the work of the busiest actor, where 1 is an average architecture alone; in the first and")
    print("in the last generation; and how many actors have work in the last.\n")
    columns = ["actors", "left in first", "in last", "busiest in first", "in last", "with work"]
    table(columns, sharing_rows(islands[0]))
    for seconds in SECONDS:
        print(
            f"An architecture alone takes {seconds:g} s. Of one search: the seconds of the actors' start, if each has"
        )
        print("a core of its own; those of the generations; the speed-up with the start, and without; the efficiency")
        print("in per cent, without. Then the speed-up where islands share the actors, so that several generations")
        print("are in flight, over one actor for one island after another.\n")
        columns = ["actors", "start", "generations", "with start", "1 in flight", "efficiency"]
        table([*columns, *(f"{one} in flight" for one in ISLANDS[1:])], speed_rows(seconds, found, walls, starts))
    print("The least number of actors at which twice as many gain less than 10 %, the speed-up there, and the")
    print("greatest. One generation is bounded by its slowest architecture, and shares less the more actors there")
    print(
        "are. The engine's remedy are islands (`search.islands`), which share the actors: while one waits for its last"
    )
    print("answer, the actors work for the others.\n")
    table(["s an architecture", "in flight", "stops at", "speed-up", "greatest", "at"], stop_rows(found))

    print("### A training\n")
    print("A model of this machine's cores, and of its loopback as a ring of as many workers, which share a global")
    print(f"batch of {BATCH_SIZE}: a step, and its all-reduce, in ms; {STEPS:,} steps with the start, in minutes.\n")
    columns = ["workers", "step", "all-reduce", "speed-up", "efficiency", "minutes", "speed-up with start"]
    table(columns, training_rows(training, nbytes))
    title = "Speed-up of a search over actors, and of a training over workers"
    picture(plot(found, training, nbytes), "scaling", title)


if __name__ == "__main__":
    main()
