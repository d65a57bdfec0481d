"""`make faults`: studies of all five methods are killed at random moments, go on, and must end as if nothing had been.

    python -m tests.faults.campaign [--kills 100] [--seed 0] [--log benchmarks/results/faults.csv] [--table]

Each run is killed up to four times, whoever a seeded draw says, and then compared with an undisturbed run of the same
study. Every kill is a row of the log, which is added to; `--table` prints what the whole log comes to.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.common.report import print_heading, print_table
from raynas.storage.run_folder import RunFolder
from raynas.storage.step_records import records
from tests.faults.runs import Command, Result, living, marked, reaped, write_recipe
from tests.faults.studies import STUDIES

VICTIMS = {
    "driver (SIGKILL)": "",
    "driver (SIGTERM)": "",
    "raylet": "raylet/raylet --",
    "training worker": "RayTrainWorker",
    "training controller": "TrainController",
    "supernet actor": "SupernetActor",
    "search trial": "ImplicitFunc",
}
"""Who is killed, and by which words its process is known."""
KILLS_A_RUN = 4
_DURABLE = ("*.safetensors", "trial-*.json", "*.parquet", "study.json", "outcome.json")
_MOST_SECONDS = 600
_ORPHAN_SECONDS = 60


@dataclass
class Killed:
    """A run that is killed again and again, and what becomes of each kill."""

    command: Command
    draw: random.Random
    seconds: float
    started: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)
    finished: dict[str, int] = field(default_factory=dict)
    repeated: int = 0

    def carry_out(self) -> None:
        """Kill it as often as planned, and then let it end."""
        while len(self.rows) < KILLS_A_RUN and not self._ended():
            self._one_attempt()
        for _ in range(3):
            if self._ended():
                break
            process = self.command.start()
            with reaped(process):
                process.communicate(timeout=_MOST_SECONDS)
            self._count_repeated()

    def _ended(self) -> bool:
        return (self.command.out / "outcome.json").exists()

    def _one_attempt(self) -> None:
        """Start it and kill victims, until the command has ended with one, or there have been enough."""
        process, self.started = self.command.start(), time.time()
        with reaped(process):
            while process.poll() is None and len(self.rows) < KILLS_A_RUN:
                _wait(process, self.draw.uniform(0.1, 0.6) * self.seconds)
                if process.poll() is None:
                    self._kill_one(process)
            if process.poll() is None:
                process.communicate(timeout=_MOST_SECONDS)
        self._count_repeated()

    def _kill_one(self, process: subprocess.Popen[str]) -> None:
        out = self.command.out
        victim, number, sent = self._choose(process)
        kept = max(newest(out), self.started)
        os.kill(number, sent)
        killed = time.time()
        row = {"victim": victim, "at_s": killed - self.started, "lost_s": killed - kept}
        if victim.startswith("driver") or victim == "raylet":
            _wait(process, _MOST_SECONDS)
            self.rows.append({**row, "status": process.poll(), "stopped_s": time.time() - killed})
            return
        deadline = killed + _MOST_SECONDS
        while process.poll() is None and newest(out) <= killed and time.time() < deadline:
            time.sleep(0.05)
        self.rows.append({**row, "status": process.poll(), "back_s": time.time() - killed})

    def _choose(self, process: subprocess.Popen[str]) -> tuple[str, int, signal.Signals]:
        """Somebody who lives now: drawn first, looked for afterwards, the driver where nobody is found."""
        order = self.draw.sample(list(VICTIMS), len(VICTIMS))
        for victim in order:
            if victim.startswith("driver"):
                return victim, process.pid, signal.SIGTERM if "TERM" in victim else signal.SIGKILL
            found = marked(self.command.out, VICTIMS[victim])
            if found:
                return victim, self.draw.choice(sorted(found)), signal.SIGKILL
        raise AssertionError("the driver is always there")

    def _count_repeated(self) -> None:
        """No step that had been finished may have been done again."""
        now = {
            one["name"]: one["attempt"] for one in records(RunFolder(self.command.out)) if one["state"] == "finished"
        }
        self.repeated += sum(now.get(name) != attempt for name, attempt in self.finished.items())
        self.finished = now


def _wait(process: subprocess.Popen[str], seconds: float) -> None:
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


def newest(out: Path) -> float:
    """When something that lasts was last written; 0 before."""
    times = []
    for pattern in _DURABLE:
        for file in out.rglob(pattern):
            try:
                times.append(file.stat().st_mtime)
            except FileNotFoundError:
                continue
    return max(times, default=0.0)


def orphans(out: Path) -> list[int]:
    """What is left of a run a minute after its end."""
    deadline = time.monotonic() + _ORPHAN_SECONDS
    while left := [*marked(out), *living(out)]:
        if time.monotonic() > deadline:
            return left
        time.sleep(0.2)
    return []


def command(name: str, folder: Path, out: str) -> Command:
    recipe, changes = STUDIES[name]
    return Command(Path(recipe) if recipe else write_recipe(folder), folder / out, changes)


def campaign(kills: int, seed: int) -> Iterator[dict[str, Any]]:
    """The rows of so many kills."""
    folder = Path(tempfile.mkdtemp(prefix="raynas-faults-"))
    expected: dict[str, tuple[Result, float]] = {}
    names = list(STUDIES)
    done = run = 0
    while done < kills:
        name = names[run % len(names)]
        if name not in expected:
            started = time.monotonic()
            whole = command(name, folder, f"{name}-undisturbed")
            whole.finish()
            expected[name] = Result.of(whole.out), time.monotonic() - started
        undisturbed, seconds = expected[name]
        killed = Killed(command(name, folder, f"{name}-{run}"), random.Random(f"{seed}-{run}"), seconds)
        killed.carry_out()
        ended = (killed.command.out / "outcome.json").exists()
        outcome = {
            "ended": ended,
            "equal": ended and Result.of(killed.command.out).equals(undisturbed),
            "repeated": killed.repeated,
            "orphans": len(orphans(killed.command.out)),
        }
        for row in killed.rows:
            yield {"seed": seed, "run": run, "method": name, "undisturbed_s": round(seconds, 1), **row, **outcome}
        done += len(killed.rows)
        run += 1
        if outcome == {"ended": True, "equal": True, "repeated": 0, "orphans": 0}:
            shutil.rmtree(killed.command.out)
    shutil.rmtree(folder, ignore_errors=True)


def show(log: pd.DataFrame) -> None:
    """What the log comes to, for each victim and in all."""
    print_heading("Kills", f"{len(log)} kills in {log.groupby(['seed', 'run']).ngroups} runs of the five methods.")
    rows = []
    for victim, kills in [*log.groupby("victim"), ("all", log)]:
        rows.append(
            [
                str(victim),
                str(len(kills)),
                f"{kills['ended'].sum()} of {len(kills)}",
                f"{kills['equal'].sum()} of {len(kills)}",
                f"{kills['lost_s'].mean():.1f} ({kills['lost_s'].max():.1f})",
                f"{kills['stopped_s'].mean():.1f}" if kills["stopped_s"].notna().any() else "",
                f"{kills['back_s'].mean():.1f}" if kills["back_s"].notna().any() else "",
            ]
        )
    columns = ["killed", "kills", "runs ended", "tables equal", "lost s, mean (most)", "until it stopped s"]
    print_table([*columns, "until it wrote again s"], rows)
    runs = log.drop_duplicates(["seed", "run"])
    print(f"Finished steps done again: {runs['repeated'].sum()}; processes left behind: {runs['orphans'].sum()}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path, default=Path("benchmarks/results/faults.csv"))
    parser.add_argument("--table", action="store_true", help="only print what the log comes to")
    options = parser.parse_args()
    before = [pd.read_csv(options.log)] if options.log.exists() else []
    new: list[dict[str, Any]] = []
    for row in () if options.table else campaign(options.kills, options.seed):
        new.append(row)
        print({key: row[key] for key in ("run", "method", "victim", "equal")}, file=sys.stderr, flush=True)
        pd.concat([*before, pd.DataFrame(new)], ignore_index=True).round(2).to_csv(options.log, index=False)
    show(pd.concat([*before, pd.DataFrame(new)], ignore_index=True))
    if any(not row["equal"] or row["repeated"] or row["orphans"] for row in new):
        sys.exit(1)


if __name__ == "__main__":
    main()
