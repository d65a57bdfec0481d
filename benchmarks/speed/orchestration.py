"""Which share of a recipe's time is orchestration: processes, messages, files, waiting?

    python -m benchmarks.speed.orchestration [--recipes pad-nas-digits ...] [--repeats N]

The share is (seconds of `raynas run` - seconds of a plain loop) / seconds of `raynas run`. The plain loop makes the
same updates and evaluations in one process without Ray, with as many torch threads as the machine has cores. Both sides
run from the start of a process to its end. They take turns, and the least seconds of each side count.

Prints a table with a row for each recipe.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common.arguments import add_changes, add_threads, command_parser
from benchmarks.common.report import print_heading, print_table
from benchmarks.common.timed_process import raynas_run, set_options, time_process
from raynas.recipe.recipe import shipped_recipes


@dataclass(frozen=True)
class RecipeTiming:
    """The least seconds of a recipe, by raynas and by the plain loop."""

    recipe: str
    seconds: float
    plain_seconds: float

    @property
    def share(self) -> float:
        """The share of orchestration, 0..1; negative if the plain loop is slower."""
        return (self.seconds - self.plain_seconds) / self.seconds

    def cells(self) -> list[str]:
        """Return the cells of the table."""
        return [self.recipe, f"{self.seconds:.1f}", f"{self.plain_seconds:.1f}", f"{100 * self.share:.0f} %"]


def time_recipe(recipe: str, changes: Sequence[str], repeats: int, threads: int) -> RecipeTiming:
    """Time a recipe on both sides in turns. Every run has a new folder."""
    plain_loop: list[str | Path] = [
        sys.executable,
        "-m",
        "benchmarks.speed.in_process",
        recipe,
        "--threads",
        str(threads),
    ]
    seconds, plain_seconds = [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            seconds.append(time_process(raynas_run(recipe, changes, Path(folder) / "raynas")))
            plain = [*plain_loop, "--out", Path(folder) / "plain", *set_options(changes)]
            plain_seconds.append(time_process(plain))
    return RecipeTiming(recipe, min(seconds), min(plain_seconds))


def digits_recipes() -> Iterator[str]:
    """Yield the shipped recipes that run on the digits in minutes."""
    return (name for name in shipped_recipes() if name.endswith("-digits"))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_parser("speed.orchestration", __doc__)
    names = list(digits_recipes())
    parser.add_argument("--recipes", nargs="+", default=names, choices=names, metavar="NAME", help="(default: all)")
    parser.add_argument("--repeats", type=int, default=1, help="runs of each side; the least counts (default: 1)")
    add_changes(parser)
    add_threads(parser)
    options = parser.parse_args(arguments)
    print_heading("Orchestration's share of a recipe", "0; each step's follows from its name")
    print("- `raynas`: seconds of `raynas run`, from the start of the process to its end")
    print("- `plain`: seconds of the same updates and evaluations in one process without Ray, with")
    print(f"  {options.threads} torch threads")
    print("- `share`: (raynas - plain) / raynas\n")
    timings = [time_recipe(recipe, options.changes, options.repeats, options.threads) for recipe in options.recipes]
    print_table(["recipe", "raynas", "plain", "share"], [timing.cells() for timing in timings])


if __name__ == "__main__":
    main()
