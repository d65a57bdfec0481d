"""Compare the scaling model with real searches on this machine, for `benchmarks.scaling`.

The evaluators sleep for each architecture, so two cores can hold four of them without waiting for each other.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.common.actor_oracles import SleepingOracle
from benchmarks.common.timed_search import TimedNsga2
from benchmarks.scaling.model import Generation, GenerationWork, Overheads, macs_of, simulate
from benchmarks.scaling.ray_share import NO_WEIGHTS, recipe
from raynas.evaluation.request import Indices
from raynas.recipe.recipe import Recipe
from raynas.storage.run_folder import RunFolder
from raynas.storage.step_records import records
from raynas.study.run import open_study
from raynas.study.run_plan import Plan, plan

CASES = ((1, 1), (2, 1), (4, 1), (4, 4))
"""Evaluators and islands."""
SLEEP = 0.01
"""Seconds for each architecture."""
REPEATS = 3


@dataclass(frozen=True)
class RealSearch:
    """A real search, and the input of its simulation.

    Attributes:
        start: seconds until the first island asks for its first generation.
        wall: seconds from then until the last state of the last island is written and reported.
        generations: the generations of each island, with the work of each evaluator.
        begins: the seconds at which each island asks first, after the first island.
    """

    start: float
    wall: float
    generations: Sequence[Sequence[GenerationWork]]
    begins: Sequence[float]


def search_for_real(actors: int, islands: int, searcher: TimedNsga2, seconds: float) -> RealSearch:
    """Search with evaluators that sleep this number of seconds for each architecture."""
    searcher = type(searcher).model_validate({**searcher.model_dump(), "islands": islands})
    with (
        tempfile.TemporaryDirectory() as folder,
        open_study(plan_run(actors), RunFolder(Path(folder) / "run")) as study,
    ):
        start = time.time()
        result = study.search("search", study.space, NO_WEIGHTS, searcher, SleepingOracle(seconds=seconds))
        step_folder = study.folder / records(study.folder)[0]["folder"]
        moments = [step_folder.read_json(f"trial-{island}.json")["state"]["moments"] for island in range(islands)]
    macs = macs_of(study.costs, result.architectures)
    trials, iterations = result.table["trial"], result.table["iteration"]
    by_generation: dict[tuple[int, int], list[Indices]] = {}
    for architecture, trial, iteration in zip(result.architectures, trials, iterations, strict=True):
        by_generation.setdefault((int(trial), int(iteration)), []).append(architecture.indices)
    generations: list[list[GenerationWork]] = [[] for _ in range(islands)]
    for (trial, _), keys in by_generation.items():
        generation = Generation(
            macs={key: macs[key] for key in keys},
            paths={key: (key,) for key in keys},  # paths share no segment, as sleep is not shared
            work=dict.fromkeys(keys, 1.0),
        )
        generations[trial].append(generation.assigned(actors))
    first = min(times[0] for times in moments)
    begins = [times[0] - first for times in moments]
    return RealSearch(first - start, max(times[-1] for times in moments) - first, generations, begins)


def plan_run(actors: int) -> Plan:
    """Plan `ray_share`'s run with this number of evaluators."""
    return plan(Recipe.read({**recipe().json_value(), "scale": {"evaluate": {"actors": actors}}}))


def check_rows(overheads: Overheads, searcher: TimedNsga2) -> Iterator[list[str]]:
    """Yield a row for each case: real seconds, simulated seconds, and the error of the simulation."""
    for actors, islands in CASES:
        searches = [search_for_real(actors, islands, searcher, SLEEP) for _ in range(REPEATS)]
        walls = [search.wall for search in searches]
        simulated = [simulate(search.generations, SLEEP, overheads, search.begins) for search in searches]
        errors = [100 * (model / wall - 1) for model, wall in zip(simulated, walls, strict=True)]
        starts = median(search.start for search in searches)
        figures = [starts, min(walls), median(walls), max(walls), median(simulated)]
        yield [str(actors), str(islands), *(f"{seconds:.2f}" for seconds in figures), f"{median(errors):+.1f}"]
