"""How should a training use the cores: several workers, or one worker of several threads?

    python -m benchmarks.speed.cores

Every row is one size of images and batches. All ways to use the cores take turns on the same architectures, so other
work on the machine disturbs all of them alike. `raynas.study.automatic_scale` has the rule that follows from the table.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

import numpy as np
from joblib import cpu_count

import search_spaces
from benchmarks.common.arguments import command_parser
from benchmarks.common.report import print_heading, print_table
from benchmarks.common.step_timing import SEED, TimedSetting
from benchmarks.speed.training import MeasureLoop, TimedStep, start_loop

SIZES = ((16, 32), (32, 16), (32, 32), (32, 64), (64, 64))
"""Side of the images in pixels, and images of a batch."""
WIDTH = 0.25
ARCHITECTURES, TURNS, STEPS = 3, 2, 3


def setting(side: int, batch_size: int) -> TimedSetting:
    """Return the demo's space for images of a side."""
    space = search_spaces.load(
        "proxylessnas",
        width=WIDTH,
        resolution=side,
        stem_channels=32,
        stage_channels=[32, 32, 64, 64, 64, 128, 128],
        stage_strides=[1, 1, 2, 1, 1, 2, 1],
        num_classes=10,
    )
    return TimedSetting(f"{side} pixels", space, batch_size, ARCHITECTURES)


def ways(cores: int) -> list[tuple[int, int]]:
    """Return (workers, threads of each): one core, all as threads, all as workers, and the middle, if there is one."""
    middle = [(cores // 2, 2)] if cores > 2 and cores % 2 == 0 else []
    return [(1, 1), (1, cores), *middle, (cores, 1)]


def wall_seconds(step: TimedStep, steps: int = STEPS) -> float:
    """Return the time of a step."""
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - start) / steps


def busy_cores(step: TimedStep, steps: int = STEPS) -> float:
    """Return the cores that a worker keeps busy."""
    start, processor_start = time.perf_counter(), time.process_time()
    for _ in range(steps):
        step()
    return (time.process_time() - processor_start) / (time.perf_counter() - start)


def compare(timed: TimedSetting, each: Sequence[tuple[int, int]], turns: int = TURNS) -> list[list[str]]:
    """Return a row for each way: its milliseconds a step, its speed-up over the first way, and its busy cores."""
    with ExitStack() as stack:
        loops: list[MeasureLoop] = [
            stack.enter_context(start_loop("engine", timed, workers, threads)) for workers, threads in each
        ]
        times = np.full((timed.architectures, len(each)), np.inf)
        for number in range(timed.architectures):
            for turn in range(turns + 1):
                for position in range(len(each)):
                    way = (position + turn) % len(each)
                    measured = loops[way](partial(wall_seconds, steps=STEPS if turn else 1), number)
                    times[number, way] = min(times[number, way], measured) if turn else np.inf
        busy = [workers * loop(busy_cores, 0) for (workers, _), loop in zip(each, loops, strict=True)]
    milliseconds = 1000 * np.median(times, axis=0)
    faster = np.median(times[:, :1] / times, axis=0)
    return [
        [timed.name, str(timed.batch_size), str(way[0]), str(way[1]), f"{ms:.1f}", f"{ratio:.2f}x", f"{cores:.2f}"]
        for way, ms, ratio, cores in zip(each, milliseconds, faster, busy, strict=True)
    ]


def main() -> None:
    parser = command_parser("speed.cores", __doc__)
    parser.add_argument("--cores", type=int, default=int(cpu_count()), help="cores to use (default: all)")
    options = parser.parse_args()
    print_heading("Cores of a training", f"{SEED}; each architecture by its own number")
    rows = [row for side, batch in SIZES for row in compare(setting(side, batch), ways(options.cores))]
    print_table(["images", "batch", "workers", "threads of each", "ms a step", "x one core", "busy cores"], rows)


if __name__ == "__main__":
    main()
