"""What is Ray's share of a search? The time of Tune and the evaluators if measuring costs nothing.

    python -m benchmarks.scaling.ray_share

The command runs a whole `Study.search` over PAD-NAS's basic space: one Tune trial of 40 generations of 64, and two
evaluators. After every generation its Parquet file and the search's state are written and synced to disk.

Prints the seconds of each search, and of its parts.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.common.actor_oracles import FreeOracle
from benchmarks.common.arguments import command_parser
from benchmarks.common.report import print_heading, print_table
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
    """The seconds of one search by the clock.

    Attributes:
        start: from the call of `Study.search` until the trial asks its search for the first generation.
        generations: from then until the last generation's state is on disk.
        end: from then until `Study.search` returns.
        search: the search's own share of `generations`: ask, tell and state.
    """

    start: float
    generations: float
    end: float
    search: float

    @property
    def whole(self) -> float:
        return self.start + self.generations + self.end


def recipe() -> Recipe:
    """Return the recipe of the searches."""
    return Recipe.read(
        {
            "method": "pad-nas",
            "space": {"name": "proxylessnas", "width": 0.25, "resolution": 32},
            "data": {"name": "digits"},
            "training": {"batch_size": 32},
            "scale": {"evaluate": {"actors": 2}},
        }
    )


def time_search(study: Study, name: str, searcher: TimedNsga2) -> Timing:
    """Search once. The step needs its own name, from which the search's seed follows."""
    start = time.time()
    study.search(name, study.space, NO_WEIGHTS, searcher, FreeOracle())
    end = time.time()
    folder = next(step["folder"] for step in records(study.folder) if step["name"] == name)
    state = study.folder.read_json(f"{folder}/trial-0.json")["state"]
    first, *_, last = state["moments"]
    return Timing(first - start, last - first, end - last, state["seconds"])


def time_searches(repeats: int, searcher: TimedNsga2) -> Iterator[Timing]:
    """Search several times in one run folder. The process must be connected to Ray."""
    with tempfile.TemporaryDirectory() as folder, open_study(plan(recipe()), RunFolder(Path(folder) / "run")) as study:
        for number in range(repeats):
            yield time_search(study, f"search-{number}", searcher)


def main() -> None:
    command_parser("scaling.ray_share", __doc__).parse_args()
    searcher = TimedNsga2()
    print_heading("Ray's share of a search", "0; each search's follows from its step's name")
    start = time.perf_counter()
    with ray_session.connect():
        ray_start = time.perf_counter() - start
        timings = list(time_searches(REPEATS, searcher))
    print(
        f"{searcher.generations} generations of {searcher.population}, two evaluators; seconds. The start of Ray "
        "itself,"
    )
    print(f"{ray_start:.1f} s, does not count.\n")
    print("- `start`: until the search asks for the first generation; the processes of the trial and of the evaluators")
    print("  start and import side by side")
    print("- `generations`: from then until the last state is on disk; `search`: the search's own share")
    print("- `end`: from then until `Study.search` returns\n")
    figures = [[timing.whole, timing.start, timing.generations, timing.end, timing.search] for timing in timings]
    rows = [[str(number), *_two_digits(row)] for number, row in enumerate(figures, start=1)]
    rows.append(["median", *_two_digits(map(median, zip(*figures, strict=True)))])
    rows.append(["least", *_two_digits(map(min, zip(*figures, strict=True)))])
    print_table(["", "whole", "start", "generations", "end", "search"], rows)


def _two_digits(seconds: Iterable[float]) -> list[str]:
    return [f"{value:.2f}" for value in seconds]


if __name__ == "__main__":
    main()
