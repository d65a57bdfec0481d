"""Search again and again on one Ray, and check that memory, open files and processes do not grow.

    make soak
    python -m tests.faults.soak [--minutes 30] [--log benchmarks/results/soak.csv] [--table]

After each search all processes are counted: this process, Ray's own, and the workers that Ray keeps. The count at the
end may exceed the first count after the first minute by at most 5 %. `--table` only prints the summary of the log.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

import raynas
from benchmarks.common.report import print_heading, print_table
from raynas.cluster.ray_session import connect
from tests.faults.runs import living_processes, parent_process, read_proc
from tests.support.finished_runs import SMALL

_SETTLE_SECONDS = 2
_MAX_GROWTH = 1.05
_MIB = 2**20
COUNTED = ("memory_mib", "files", "processes")


def own_processes() -> list[int]:
    """Return the numbers of this process and of all its descendants."""
    parents = {pid: parent_process(pid) for pid in living_processes()}
    pids, generation = [], [os.getpid()]
    while generation:
        pids += generation
        generation = [pid for pid, parent in parents.items() if parent in generation]
    return pids


def kind(pid: int) -> str:
    """Return the kind of a process: `driver`, `worker`, or the name of one of Ray's own programs."""
    if pid == os.getpid():
        return "driver"
    words = read_proc(pid, "cmdline").split()
    return "worker" if not words or words[0].startswith("ray::") else Path(words[0]).name


def count_processes() -> pd.DataFrame:
    """Return a row for each kind of process: memory that only it has written (MiB), open files, and their number."""
    rows: list[dict[str, str | float]] = []
    for pid in own_processes():
        lines = [line.split() for line in read_proc(pid, "smaps_rollup").splitlines()]
        written = sum(int(words[1]) for words in lines if words and words[0] == "Private_Dirty:")
        try:
            files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        except OSError:
            continue
        rows.append({"kind": kind(pid), "memory_mib": written * 1024 / _MIB, "files": files, "processes": 1})
    return pd.DataFrame(rows).groupby("kind", as_index=False).sum()


def soak(minutes: float) -> Iterator[pd.DataFrame]:
    """Search until the time is over. Yields the counts after each search."""
    with tempfile.TemporaryDirectory(prefix="raynas-soak-") as folder, connect():
        start, seconds, search = time.monotonic(), 0.0, 0
        while seconds < 60 * minutes:
            raynas.run({**SMALL, "seed": search}, Path(folder) / str(search))
            gc.collect()
            time.sleep(_SETTLE_SECONDS)
            seconds = time.monotonic() - start
            yield count_processes().assign(search=search, seconds=seconds)
            search += 1


def compare_ends(log: pd.DataFrame) -> pd.DataFrame:
    """Return the counts after the first minute and at the end, by kind of process and for all."""
    sums = log.groupby(["search", "seconds"], as_index=False)[list(COUNTED)].sum().assign(kind="all")
    counts = pd.concat([log, sums], ignore_index=True)
    settled = counts[counts["seconds"] >= 60]
    first = settled[settled["search"] == settled["search"].min()].set_index("kind")[list(COUNTED)]
    last = settled[settled["search"] == settled["search"].max()].set_index("kind")[list(COUNTED)]
    joined: pd.DataFrame = first.add_suffix("_first").join(last.add_suffix("_last"), how="outer").fillna(0)
    return joined


def show(log: pd.DataFrame) -> None:
    print_heading("Soak", f"{log['search'].nunique()} searches in {log['seconds'].max() / 60:.0f} minutes on one Ray.")
    rows = [
        [str(name), *(f"{row[f'{column}_first']:.0f} to {row[f'{column}_last']:.0f}" for column in COUNTED)]
        for name, row in compare_ends(log).iterrows()
    ]
    print_table(["process", "own memory MiB", "open files", "processes"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30, help="the time of all searches")
    parser.add_argument("--log", type=Path, default=Path("benchmarks/results/soak.csv"), help="the log to write")
    parser.add_argument("--table", action="store_true", help="only print the summary of the log")
    options = parser.parse_args()
    counts: list[pd.DataFrame] = []
    for count in () if options.table else soak(options.minutes):
        counts.append(count)
        pd.concat(counts).round(1).to_csv(options.log, index=False)
    log = pd.read_csv(options.log)
    show(log)
    everything = compare_ends(log).loc["all"]
    if any(everything[f"{column}_last"] > _MAX_GROWTH * everything[f"{column}_first"] for column in COUNTED):
        print("Memory, files or processes grew by more than 5 %.", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
