"""`make soak`: small searches back to back on one Ray; memory, files and processes must not grow.

    python -m tests.faults.soak [--minutes 30] [--log benchmarks/results/soak.csv] [--table]

After each search everything that lives of it is counted: this process, Ray's own, and the workers that Ray keeps. What
stands there at the end is compared with what stood there after the first minute.
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
from tests.faults.runs import parent, told
from tests.raynas.conftest import SMALL

_SETTLE_SECONDS = 2
_MOST = 1.05
_MIB = 2**20
COUNTED = ("memory_mib", "files", "processes")


def family() -> list[int]:
    """The numbers of this process and of all that descend from it."""
    parents = {int(entry.name): parent(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdecimal()}
    found, new = [], [os.getpid()]
    while new:
        found += new
        new = [number for number, above in parents.items() if above in new]
    return found


def kind(number: int) -> str:
    """What a process is: the driver, one of Ray's own, or a worker."""
    if number == os.getpid():
        return "driver"
    words = told(number, "cmdline").split()
    return "worker" if not words or words[0].startswith("ray::") else Path(words[0]).name


def counted() -> pd.DataFrame:
    """For each kind of process: memory of its own that it has written (MiB), open files, and how many there are."""
    rows: list[dict[str, str | float]] = []
    for number in family():
        lines = [line.split() for line in told(number, "smaps_rollup").splitlines()]
        written = sum(int(words[1]) for words in lines if words and words[0] == "Private_Dirty:")
        try:
            files = len(list(Path(f"/proc/{number}/fd").iterdir()))
        except OSError:
            continue
        rows.append({"kind": kind(number), "memory_mib": written * 1024 / _MIB, "files": files, "processes": 1})
    return pd.DataFrame(rows).groupby("kind", as_index=False).sum()


def soak(minutes: float) -> Iterator[pd.DataFrame]:
    """What is counted after each search for so many minutes."""
    with tempfile.TemporaryDirectory(prefix="raynas-soak-") as folder, connect():
        start, seconds, search = time.monotonic(), 0.0, 0
        while seconds < 60 * minutes:
            raynas.run({**SMALL, "seed": search}, Path(folder) / str(search))
            gc.collect()
            time.sleep(_SETTLE_SECONDS)
            seconds = time.monotonic() - start
            yield counted().assign(search=search, seconds=seconds)
            search += 1


def compared(log: pd.DataFrame) -> pd.DataFrame:
    """What stood after the first minute, and what stands at the end, by kind and in all."""
    everything = log.groupby(["search", "seconds"], as_index=False)[list(COUNTED)].sum().assign(kind="all")
    both = pd.concat([log, everything], ignore_index=True)
    settled = both[both["seconds"] >= 60]
    first = settled[settled["search"] == settled["search"].min()].set_index("kind")[list(COUNTED)]
    last = settled[settled["search"] == settled["search"].max()].set_index("kind")[list(COUNTED)]
    joined: pd.DataFrame = first.add_suffix("_first").join(last.add_suffix("_last"), how="outer").fillna(0)
    return joined


def show(log: pd.DataFrame) -> None:
    print_heading("Soak", f"{log['search'].nunique()} searches in {log['seconds'].max() / 60:.0f} minutes on one Ray.")
    rows = [
        [str(name), *(f"{row[f'{one}_first']:.0f} to {row[f'{one}_last']:.0f}" for one in COUNTED)]
        for name, row in compared(log).iterrows()
    ]
    print_table(["process", "own memory MiB", "open files", "processes"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--log", type=Path, default=Path("benchmarks/results/soak.csv"))
    parser.add_argument("--table", action="store_true", help="only print what the log comes to")
    options = parser.parse_args()
    counts: list[pd.DataFrame] = []
    for count in () if options.table else soak(options.minutes):
        counts.append(count)
        pd.concat(counts).round(1).to_csv(options.log, index=False)
    log = pd.read_csv(options.log)
    show(log)
    whole = compared(log).loc["all"]
    if any(whole[f"{one}_last"] > _MOST * whole[f"{one}_first"] for one in COUNTED):
        print("It grew by more than 5 %.", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
