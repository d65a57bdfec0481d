"""How far do a search and a training scale, by the costs of this machine? To 1,024 evaluators and 256 workers.

    python -m benchmarks.scaling

- `costs` measures the parts with real Ray.
- `model` simulates searches and trainings of any size from these parts.
- `check` compares the model with real searches with 1, 2 and 4 evaluators.

The architectures are those of real searches of 40 generations of 64 with an oracle that costs nothing; each island has
its own seed.

Prints the costs of the parts, the check of the model, the speed-ups of a search and of a training, and a plot.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from statistics import mean
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.common.arguments import command_parser
from benchmarks.common.oracles import run_search
from benchmarks.common.report import print_heading, print_table, save_figure
from benchmarks.common.timed_search import TimedNsga2
from benchmarks.scaling import costs
from benchmarks.scaling.check import REPEATS, SLEEP, check_rows, plan_run
from benchmarks.scaling.model import (
    Generation,
    Overheads,
    Starts,
    TrainingCosts,
    all_reduce,
    macs_of,
    simulate,
    stops_at,
)
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
"""Seconds of an architecture alone on an evaluator."""
SPREAD = 0.25
"""The standard deviation of the logarithm of the time that multiply-adds do not explain."""
BATCH_SIZE = 256
STEPS = 10_000

Speeds = Mapping[tuple[float, int], Mapping[int, float]]
"""By (seconds of an architecture, islands), then by evaluators: the speed-up over one evaluator."""
Walls = Mapping[tuple[float, int], float]
"""By (seconds of an architecture, evaluators): the seconds of one search."""


def search_generations(space: SearchSpace, supernet: Supernet, searcher: TimedNsga2, seed: int) -> list[Generation]:
    """Return the generations of a real search, with the segments of its paths and artificial noise in their work."""
    oracle = costs.LocalFreeOracle(space)
    evaluations = run_search(searcher.begin(space, oracle.costs, Budget({}), seed), oracle)
    architectures = [evaluation.architecture for evaluation in evaluations]
    keys = [architecture.indices for architecture in architectures]
    macs = macs_of(oracle.costs, architectures)
    noise = np.random.default_rng(seed).lognormal(-(SPREAD**2) / 2, SPREAD, len(keys))
    paths = {
        architecture.indices: tuple(segment.key for segment in supernet.segments(architecture))
        for architecture in architectures
    }
    average = mean(macs.values())
    work = {key: macs[key] / average * float(factor) for key, factor in zip(keys, noise, strict=True)}
    size = searcher.population
    groups = [keys[first : first + size] for first in range(0, len(keys), size)]
    return [Generation({key: macs[key] for key in group}, paths, work) for group in groups]


def speeds(
    islands: Sequence[Sequence[Generation]], overheads: Overheads
) -> tuple[dict[tuple[float, int], dict[int, float]], dict[tuple[float, int], float]]:
    """Return the speed-ups of islands that share the evaluators, and the seconds of the first island alone.

    The seconds are by (seconds of an architecture, evaluators).
    """
    by_islands: dict[tuple[float, int], dict[int, float]] = {key: {} for key in product(SECONDS, ISLANDS)}
    walls: dict[tuple[float, int], float] = {}
    alone: dict[tuple[float, int], float] = {}
    for actors in ACTORS:
        assigned = [[generation.assigned(actors) for generation in island] for island in islands]
        for seconds, number in by_islands:
            if actors == 1:
                alone[seconds, number] = sum(simulate([island], seconds, overheads) for island in assigned[:number])
            wall = simulate(assigned[:number], seconds, overheads)
            if number == 1:
                walls[seconds, actors] = wall
            by_islands[seconds, number][actors] = alone[seconds, number] / wall
    return by_islands, walls


def part_rows(
    starts: Starts, weights_bytes: float, overheads: Overheads, training: TrainingCosts
) -> Iterator[tuple[str, str]]:
    """Yield the name and the median of every part."""
    yield "first evaluator, until it answers", f"{starts.first:.2f} s"
    yield "each further evaluator on this machine", f"{starts.further:.2f} s"
    yield "creation of a further evaluator, for its creator", _ms(starts.create)
    yield "request to the evaluators", _ms(overheads.request)
    yield "request: each architecture", _ms(overheads.architecture)
    yield "request: each evaluator", _ms(overheads.actor)
    yield "generation: the search's ask, tell and state", _ms(overheads.search)
    yield "generation: writing table and state", _ms(overheads.write)
    yield "generation: the rest, Tune's report", _ms(overheads.report)
    rate = weights_bytes / starts.weights / 1e6
    yield f"reading and verifying weights of {weights_bytes / 1e6:.1f} MB", f"{_ms(starts.weights)} ({rate:.0f} MB/s)"
    yield "start of a group of 1 worker; of 2 workers", "; ".join(f"{seconds:.1f} s" for seconds in training.starts)
    yield "training step: any batch; each image", f"{_ms(training.step)}; {_ms(training.image)}"
    yield "all-reduce: each message; bandwidth", f"{_ms(training.latency)}; {training.bandwidth / 1e6:.0f} MB/s"


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"


def request_rows(requests: Iterable[tuple[int, int, float]], overheads: Overheads) -> Iterator[list[str]]:
    """Yield measured and fitted milliseconds of requests."""
    for architectures, actors, measured in requests:
        fitted = overheads.request_seconds(architectures, actors)
        yield [str(architectures), str(actors), *(f"{1000 * seconds:.2f}" for seconds in (measured, fitted))]


def group_rows(groups: Mapping[int, costs.GroupFigures], training: TrainingCosts, nbytes: float) -> Iterator[list[str]]:
    """Yield milliseconds of all-reduces and training steps: of one worker, of two, and of the model of two."""
    for number, size in enumerate(costs.REDUCED_BYTES):
        model = all_reduce(2, size, training.latency, training.bandwidth)
        seconds = [groups[1].reduced[number], groups[2].reduced[number], model]
        yield [f"all-reduce of {size:,} bytes", *(f"{1000 * value:.3f}" for value in seconds)]
    for number, images in enumerate(costs.LOCAL_BATCHES):
        seconds = [groups[1].steps[number], groups[2].steps[number], training.step_seconds(2, 2 * images, nbytes)]
        yield [f"training step, {images} images for each worker", *(f"{1000 * value:.1f}" for value in seconds)]


def sharing_rows(generations: Sequence[Generation]) -> Iterator[list[str]]:
    """Yield the work of the first and of the last generation, with shared prefixes computed once."""
    first_and_last = (generations[0], generations[-1])
    unshared = [sum(generation.work[key] for key in generation.macs) for generation in first_and_last]
    for actors in ACTORS:
        works = [generation.assigned(actors).by_evaluator().values() for generation in first_and_last]
        left = [f"{100 * sum(work) / total:.0f}" for work, total in zip(works, unshared, strict=True)]
        busiest = [f"{max(work):.2f}" for work in works]
        yield [str(actors), *left, *busiest, str(len(works[-1]))]


def speed_rows(seconds: float, by_islands: Speeds, walls: Walls, starts: Starts) -> Iterator[list[str]]:
    """Yield seconds and speed-ups for each number of evaluators."""
    for actors in ACTORS:
        one_island, *more_islands = (by_islands[seconds, islands][actors] for islands in ISLANDS)
        start, wall = starts.on_own_cores(actors), walls[seconds, actors]
        with_start = (starts.on_own_cores(1) + walls[seconds, 1]) / (start + wall)
        efficiency = f"{100 * one_island / actors:.0f}"
        figures = [f"{figure:.1f}" for figure in (start, wall, with_start, one_island)]
        yield [str(actors), *figures, efficiency, *(f"{speed:.1f}" for speed in more_islands)]


def stop_rows(by_islands: Speeds) -> Iterator[list[str]]:
    """Yield the number of evaluators at which searches stop scaling."""
    for (seconds, islands), by_actors in by_islands.items():
        stop = stops_at(by_actors)
        best = max(by_actors, key=lambda actors: by_actors[actors])
        stopped = ["not in this range", ""] if stop is None else [str(stop), f"{by_actors[stop]:.1f}"]
        yield [f"{seconds:g}", str(islands), *stopped, f"{by_actors[best]:.1f}", str(best)]


def training_rows(training: TrainingCosts, nbytes: float) -> Iterator[list[str]]:
    """Yield the figures of a training for each number of workers."""
    alone = training.step_seconds(1, BATCH_SIZE, nbytes)
    whole_alone = training.start(1) + STEPS * alone
    for workers in WORKERS:
        step = training.step_seconds(workers, BATCH_SIZE, nbytes)
        reduced = all_reduce(workers, nbytes, training.latency, training.bandwidth)
        whole = training.start(workers) + STEPS * step
        figures = [f"{1000 * seconds:.1f}" for seconds in (step, reduced)]
        yield [
            str(workers),
            *figures,
            f"{alone / step:.1f}",
            f"{100 * alone / step / workers:.0f}",
            f"{whole / 60:.1f}",
            f"{whole_alone / whole:.1f}",
        ]


def plot(by_islands: Speeds, training: TrainingCosts, nbytes: float) -> Figure:
    """Draw speed-ups over evaluators, a panel for each time of an architecture, and over training workers."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    *panels, last = figure.subplots(1, len(SECONDS) + 1)
    for panel, seconds in zip(panels, SECONDS, strict=True):
        for islands in ISLANDS:
            panel.plot(ACTORS, list(by_islands[seconds, islands].values()), marker=".", label=f"{islands} in flight")
        panel.plot(ACTORS, ACTORS, "k:", label="number of evaluators")
        panel.set(title=f"search, {seconds:g} s for each architecture", xlabel="evaluators", ylabel="speed-up")
    alone = training.step_seconds(1, BATCH_SIZE, nbytes)
    last.plot(WORKERS, [alone / training.step_seconds(workers, BATCH_SIZE, nbytes) for workers in WORKERS], marker=".")
    last.plot(WORKERS, WORKERS, "k:")
    last.set(title=f"training, a batch of {BATCH_SIZE}", xlabel="workers", ylabel="speed-up of a training step")
    for panel in figure.axes:
        panel.set_xscale("log", base=2)
        panel.set_yscale("log", base=2)
        panel.xaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_major_formatter("{x:g}")
    panels[0].legend(fontsize="small")
    return figure


def print_parts(
    groups: Mapping[int, costs.GroupFigures],
    starts: Starts,
    weights_bytes: float,
    requests: Iterable[tuple[int, int, float]],
    overheads: Overheads,
) -> None:
    """Print the measured parts, and the fits to them."""
    training, nbytes = costs.training_costs(groups), costs.path_bytes()
    print("### The parts on this machine\n")
    print_table(["part", "median"], part_rows(starts, weights_bytes, overheads, training))
    most = max(costs.ACTORS)
    print(
        "`EvaluatorPool.evaluate` if measuring costs nothing, in ms: measured, and by the fitted line. With more than"
    )
    print(f"{most} evaluators the calls go to {most} processes in turn.\n")
    print_table(["architectures", "evaluators", "ms", "line"], request_rows(requests, overheads))
    print("All-reduces by gloo on this machine's loopback, and training steps of one path with gradients of")
    print(f"{nbytes / 1e6:.1f} MB on average; in ms.\n")
    print_table(["", "1 worker", "2 workers", "model of 2"], group_rows(groups, training, nbytes))


def print_check(rows: Iterable[Sequence[object]], searcher: TimedNsga2) -> None:
    """Print the comparison of the model with real searches."""
    size = f"{searcher.generations} generations of {searcher.population}"
    print("### The model beside real searches\n")
    print(f"{REPEATS} searches of {size} for each row. Evaluators sleep {SLEEP} s for each architecture. In seconds:\n")
    print("- `start`: until the first request for a generation; it is not part of the model")
    print("- `least`, `median`, `greatest`: from then until the last report")
    print("- `simulated`: median of the simulations, with islands that begin at the same moments")
    print("- `error %`: median error of the simulation\n")
    print_table(["evaluators", "islands", "start", "least", "median", "greatest", "simulated", "error %"], rows)


def print_search(
    generations: Sequence[Generation], size: str, by_islands: Speeds, walls: Walls, starts: Starts
) -> None:
    """Print the speed-ups of a search."""
    print("### A search\n")
    print(f"{size}. An evaluator computes shared blocks once.\n")
    print("- `work left`: work with sharing, in per cent of the work without, in the first and in the last generation")
    print("- `busiest`: work of the busiest evaluator; 1 is an average architecture alone")
    print("- `with work`: evaluators that have work in the last generation\n")
    columns = ["evaluators", "work left, first", "last", "busiest, first", "last", "with work"]
    print_table(columns, sharing_rows(generations))
    for seconds in SECONDS:
        print(f"An architecture alone takes {seconds:g} s.\n")
        print("- `start`: seconds of the evaluators' start, each on its own core")
        print("- `generations`: seconds of all generations of one search")
        print("- `with start`: speed-up of one search with the start; `1 in flight`: without it")
        print("- `efficiency`: in per cent, without the start")
        print("- `2 in flight`, ...: speed-up of islands that share the evaluators, over one evaluator for one island")
        print("  after another\n")
        columns = ["evaluators", "start", "generations", "with start", "1 in flight", "efficiency"]
        columns += [f"{islands} in flight" for islands in ISLANDS[1:]]
        print_table(columns, speed_rows(seconds, by_islands, walls, starts))
    print("A search stops scaling at the smallest number of evaluators at which twice as many gain less than 10 %. A")
    print("generation ends with its slowest architecture, and shares less on more evaluators. The remedy are islands")
    print("(`search.islands`): while one waits for its last measurement, the evaluators work for the others.\n")
    columns = ["s for each architecture", "in flight", "stops at", "speed-up", "greatest", "at"]
    print_table(columns, stop_rows(by_islands))


def print_training(training: TrainingCosts, nbytes: float) -> None:
    """Print the speed-ups of a training."""
    print("### A training\n")
    print("A model of this machine's cores, and of its loopback as a ring of the workers. They share a global batch of")
    print(f"{BATCH_SIZE}. `step` and `all-reduce` in ms; `minutes`: {STEPS:,} training steps with the start.\n")
    columns = ["workers", "step", "all-reduce", "speed-up", "efficiency", "minutes", "speed-up with start"]
    print_table(columns, training_rows(training, nbytes))


def main() -> None:
    command_parser("scaling", __doc__).parse_args()
    print_heading("How far a search and a training scale", f"{SEED} to {SEED + ISLANDS[-1] - 1}, one for each island")
    space = plan_run(1).space
    supernet = space.supernet()
    weights_bytes = float(sum(tensor.nbytes for tensor in supernet.state_dict().values()))
    searcher, shorter = TimedNsga2(), TimedNsga2(generations=8)
    with ray_session.connect():
        groups = {workers: costs.measure_group(workers) for workers in costs.WORKERS}
        starts = costs.measure_starts(weights_bytes)
        requests = costs.measure_requests(space)
        overheads = costs.measure_overheads(requests, costs.LocalFreeOracle(space))
        checked = list(check_rows(overheads, shorter))
    islands = [search_generations(space, supernet, searcher, SEED + island) for island in range(ISLANDS[-1])]
    by_islands, walls = speeds(islands, overheads)
    print_parts(groups, starts, weights_bytes, requests, overheads)
    print_check(checked, shorter)
    size = f"{searcher.generations} generations of {searcher.population}"
    print_search(islands[0], size, by_islands, walls, starts)
    training, nbytes = costs.training_costs(groups), costs.path_bytes()
    print_training(training, nbytes)
    title = "Speed-up of a search over evaluators, and of a training over workers"
    save_figure(plot(by_islands, training, nbytes), "scaling", title)


if __name__ == "__main__":
    main()
