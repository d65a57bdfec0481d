"""Ray's share of a search: what Tune and the actors take where answering costs nothing.

    python -m benchmarks.scaling.ray_share

A whole `Study.search` over PAD-NAS's basic space: one Tune trial of 40 generations of 64, two actors, and after every
generation its Parquet file and the search's state written and synced to disk.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.common.actor_oracles import FreeOracle
from benchmarks.common.report import heading, table
from benchmarks.common.timed_search import TimedNsga2
from raynas.cluster import ray_session
from raynas.recipe.recipe import Recipe
from raynas.storage.run_folder import RunFolder
from raynas.storage.step_records import records
from raynas.storage.weights import Weights
from raynas.study.run import open_study
from raynas.study.run_plan import plan
from raynas.study.study import Study

REPEATS = 5
NO_WEIGHTS = Weights(file="none", version="none", history=[])


@dataclass(frozen=True)
class Timing:
    """One search, in seconds of wall clock.

    Attributes:
        start: from the call of `Study.search` until the trial asks its search for the first generation.
        generations: from there until the last generation's state is on disk.
        end: from there until `Study.search` returns.
        search: of `generations`, the search's own: ask, tell and state.
    """

    start: float
    generations: float
    end: float
    search: float

    @property
    def whole(self) -> float:
        return self.start + self.generations + self.end


def recipe() -> Recipe:
    return Recipe.read(
        {
            "method": "pad-nas",
            "space": {"name": "proxylessnas", "width": 0.25, "resolution": 32},
            "data": {"name": "digits"},
            "training": {"batch_size": 32},
            "scale": {"evaluate": {"actors": 2}},
        }
    )


def timed(study: Study, name: str, searcher: TimedNsga2) -> Timing:
    """Search once under a step name of its own, from which the search's seed follows."""
    began = time.time()
    study.search(name, study.space, NO_WEIGHTS, searcher, FreeOracle())
    ended = time.time()
    folder = next(step["folder"] for step in records(study.folder) if step["name"] == name)
    state = study.folder.read_json(f"{folder}/trial-0.json")["state"]
    first, *_, last = state["moments"]
    return Timing(first - began, last - first, ended - last, state["seconds"])


def timings(repeats: int, searcher: TimedNsga2) -> Iterator[Timing]:
    """So many searches in one run folder, on the Ray that this process is connected to."""
    with tempfile.TemporaryDirectory() as folder, open_study(plan(recipe()), RunFolder(Path(folder) / "run")) as study:
        for number in range(repeats):
            yield timed(study, f"search-{number}", searcher)


def main() -> None:
    searcher = TimedNsga2()
    heading("Ray's share of a search", "0; each search's follows from its step's name")
    began = time.perf_counter()
    with ray_session.connect():
        ray_start = time.perf_counter() - began
        measured = list(timings(REPEATS, searcher))
    print(f"{searcher.generations} generations of {searcher.population}, two actors; seconds. Ray itself started in")
    print(f"{ray_start:.1f}, which is not counted. `start`: until the first generation is asked for; in it the trial's")
    print("process and the actors' start and import side by side. `generations`: until the last state is on disk, of")
    print("which `search` is the search's own; `end`: until `Study.search` returns.\n")
    figures = [[one.whole, one.start, one.generations, one.end, one.search] for one in measured]
    rows = [[str(number), *_two_digits(row)] for number, row in enumerate(figures, start=1)]
    rows.append(["median", *_two_digits(map(median, zip(*figures, strict=True)))])
    rows.append(["least", *_two_digits(map(min, zip(*figures, strict=True)))])
    table(["", "whole", "start", "generations", "end", "search"], rows)


def _two_digits(seconds: Iterable[float]) -> list[str]:
    return [f"{value:.2f}" for value in seconds]


if __name__ == "__main__":
    main()
