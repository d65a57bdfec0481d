"""The scaling model held against real searches on this machine, for `benchmarks.scaling`.

Actors sleep for each architecture, so that two cores hold four of them honestly.
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
from benchmarks.scaling.model import Asked, Generation, Overheads, macs_of, simulate
from benchmarks.scaling.ray_share import NO_WEIGHTS, recipe
from raynas.recipe.recipe import Recipe
from raynas.storage.run_folder import RunFolder
from raynas.storage.step_records import records
from raynas.study.run import open_study
from raynas.study.run_plan import Plan, plan

CASES = ((1, 1), (2, 1), (4, 1), (4, 4))
"""Actors and islands."""
SLEEP = 0.01
"""Seconds an architecture."""
REPEATS = 3


@dataclass(frozen=True)
class Real:
    """A search that was really run, and the model of it.

    Attributes:
        start: until the first island asked for its first generation, in seconds.
        wall: from there until the last state of the last island was written and reported, in seconds.
        generations: of each island, as they were shared out.
        begins: when each island asked first, in seconds after the first to ask.
    """

    start: float
    wall: float
    generations: Sequence[Sequence[Generation]]
    begins: Sequence[float]


def searched(actors: int, islands: int, searcher: TimedNsga2, seconds: float) -> Real:
    """Search with actors that sleep so long an architecture."""
    searcher = type(searcher).model_validate({**searcher.model_dump(), "islands": islands})
    with tempfile.TemporaryDirectory() as folder, open_study(planned(actors), RunFolder(Path(folder) / "run")) as study:
        began = time.time()
        found = study.search("search", study.space, NO_WEIGHTS, searcher, SleepingOracle(seconds=seconds))
        steps = study.folder / records(study.folder)[0]["folder"]
        moments = [steps.read_json(f"trial-{island}.json")["state"]["moments"] for island in range(islands)]
    macs = macs_of(study.costs, found.architectures)
    together: dict[tuple[int, int], list[tuple[int, ...]]] = {}
    for one, trial, iteration in zip(found.architectures, found.table["trial"], found.table["iteration"], strict=True):
        together.setdefault((int(trial), int(iteration)), []).append(one.indices)
    generations: list[list[Generation]] = [[] for _ in range(islands)]
    for (trial, _), asked in together.items():
        apart = Asked({one: macs[one] for one in asked}, {one: (one,) for one in asked}, dict.fromkeys(asked, 1.0))
        generations[trial].append(apart.on(actors))
    first = min(one[0] for one in moments)
    begins = [one[0] - first for one in moments]
    return Real(first - began, max(one[-1] for one in moments) - first, generations, begins)


def planned(actors: int) -> Plan:
    """`ray_share`'s run with so many actors."""
    return plan(Recipe.read({**recipe().json_value(), "scale": {"evaluate": {"actors": actors}}}))


def compared(overheads: Overheads, searcher: TimedNsga2) -> Iterator[list[str]]:
    """A row for each case: real and simulated seconds, and how far off."""
    for actors, islands in CASES:
        real = [searched(actors, islands, searcher, SLEEP) for _ in range(REPEATS)]
        walls = [one.wall for one in real]
        simulated = [simulate(one.generations, SLEEP, overheads, one.begins) for one in real]
        off = [100 * (made / wall - 1) for made, wall in zip(simulated, walls, strict=True)]
        starts = median(one.start for one in real)
        figures = [starts, min(walls), median(walls), max(walls), median(simulated)]
        yield [str(actors), str(islands), *(f"{one:.2f}" for one in figures), f"{median(off):+.1f}"]
