"""Kill processes of runs of all five methods at random moments, and compare the results with undisturbed runs.

    make faults
    python -m tests.faults.campaign [--kills 100] [--seed 0] [--log benchmarks/results/faults.csv] [--table]

Each run suffers up to four kills of random processes. Every kill becomes a row of the log. `--table` only prints the
summary of the log.
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
from tests.faults.recipes import RECIPES
from tests.faults.runs import Command, Result, command_processes, ended, run_processes, write_recipe

VICTIMS = {
    "driver (SIGKILL)": "",
    "driver (SIGTERM)": "",
    "raylet": "raylet/raylet --",
    "training worker": "RayTrainWorker",
    "training controller": "TrainController",
    "supernet actor": "EvaluatorActor",
    "search trial": "ImplicitFunc",
}
"""A part of the process title of each victim. The log keeps the older name of an evaluator."""
KILLS_PER_RUN = 4
_DURABLE = ("*.safetensors", "trial-*.json", "*.parquet", "study.json", "outcome.json")
_TIMEOUT_SECONDS = 600
_ORPHAN_SECONDS = 60


@dataclass
class KilledRun:
    """A run that suffers several kills, with a row for each kill."""

    command: Command
    generator: random.Random
    undisturbed_seconds: float
    started: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)
    finished: dict[str, int] = field(default_factory=dict)
    repeated: int = 0

    def carry_out(self) -> None:
        """Kill processes of the run as often as planned, then let the run finish."""
        while len(self.rows) < KILLS_PER_RUN and not self.is_finished:
            self._attempt()
        for _ in range(3):
            if self.is_finished:
                break
            process = self.command.start()
            with ended(process):
                process.communicate(timeout=_TIMEOUT_SECONDS)
            self._count_repeated_steps()

    @property
    def is_finished(self) -> bool:
        return (self.command.out / "outcome.json").exists()

    def _attempt(self) -> None:
        """Start the command, and kill processes until the command ends or enough were killed."""
        process, self.started = self.command.start(), time.time()
        with ended(process):
            while process.poll() is None and len(self.rows) < KILLS_PER_RUN:
                _wait(process, self.generator.uniform(0.1, 0.6) * self.undisturbed_seconds)
                if process.poll() is None:
                    self._kill_process(process)
            if process.poll() is None:
                process.communicate(timeout=_TIMEOUT_SECONDS)
        self._count_repeated_steps()

    def _kill_process(self, process: subprocess.Popen[str]) -> None:
        """Kill a random process. Wait until the command has ended, or the run has written a durable file again."""
        out = self.command.out
        victim, pid, kill_signal = self._choose_victim(process)
        last_write = max(last_durable_write(out), self.started)
        os.kill(pid, kill_signal)
        killed = time.time()
        row = {"victim": victim, "at_s": killed - self.started, "lost_s": killed - last_write}
        if victim.startswith("driver") or victim == "raylet":
            _wait(process, _TIMEOUT_SECONDS)
            self.rows.append({**row, "status": process.poll(), "stopped_s": time.time() - killed})
            return
        deadline = killed + _TIMEOUT_SECONDS
        while process.poll() is None and last_durable_write(out) <= killed and time.time() < deadline:
            time.sleep(0.05)
        self.rows.append({**row, "status": process.poll(), "back_s": time.time() - killed})

    def _choose_victim(self, process: subprocess.Popen[str]) -> tuple[str, int, signal.Signals]:
        """Return the first victim of a random order that lives now: its name, its process, and the signal."""
        order = self.generator.sample(list(VICTIMS), len(VICTIMS))
        for victim in order:
            if victim.startswith("driver"):
                return victim, process.pid, signal.SIGTERM if "TERM" in victim else signal.SIGKILL
            pids = command_processes(self.command.out, VICTIMS[victim])
            if pids:
                return victim, self.generator.choice(sorted(pids)), signal.SIGKILL
        raise AssertionError("the driver always lives")

    def _count_repeated_steps(self) -> None:
        """Count the steps that ran again although they had finished."""
        finished = {
            record["name"]: record["attempt"]
            for record in records(RunFolder(self.command.out))
            if record["state"] == "finished"
        }
        self.repeated += sum(finished.get(name) != attempt for name, attempt in self.finished.items())
        self.finished = finished


def _wait(process: subprocess.Popen[str], seconds: float) -> None:
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


def last_durable_write(out: Path) -> float:
    """Return the time of the last write of a durable file; 0 before the first write."""
    times = []
    for pattern in _DURABLE:
        for file in out.rglob(pattern):
            try:
                times.append(file.stat().st_mtime)
            except FileNotFoundError:
                continue
    return max(times, default=0.0)


def orphans(out: Path) -> list[int]:
    """Return the processes of a run that still live a minute after its end."""
    deadline = time.monotonic() + _ORPHAN_SECONDS
    while remaining := run_processes(out):
        if time.monotonic() > deadline:
            return remaining
        time.sleep(0.2)
    return []


def make_command(name: str, folder: Path, out: str) -> Command:
    recipe, changes = RECIPES[name]
    return Command(Path(recipe) if recipe else write_recipe(folder), folder / out, changes)


def campaign(kills: int, seed: int) -> Iterator[dict[str, Any]]:
    """Run the methods in turn until the number of kills is reached. Yields a row for each kill."""
    folder = Path(tempfile.mkdtemp(prefix="raynas-faults-"))
    expected: dict[str, tuple[Result, float]] = {}
    names = list(RECIPES)
    killed = run = 0
    while killed < kills:
        name = names[run % len(names)]
        if name not in expected:
            started = time.monotonic()
            whole = make_command(name, folder, f"{name}-undisturbed")
            whole.finish()
            expected[name] = Result.read(whole.out), time.monotonic() - started
        undisturbed, seconds = expected[name]
        killed_run = KilledRun(make_command(name, folder, f"{name}-{run}"), random.Random(f"{seed}-{run}"), seconds)
        killed_run.carry_out()
        out = killed_run.command.out
        outcome = {
            "ended": killed_run.is_finished,
            "equal": killed_run.is_finished and Result.read(out).equals(undisturbed),
            "repeated": killed_run.repeated,
            "orphans": len(orphans(out)),
        }
        for row in killed_run.rows:
            yield {"seed": seed, "run": run, "method": name, "undisturbed_s": round(seconds, 1), **row, **outcome}
        killed += len(killed_run.rows)
        run += 1
        if outcome == {"ended": True, "equal": True, "repeated": 0, "orphans": 0}:
            shutil.rmtree(out)
    shutil.rmtree(folder, ignore_errors=True)


def show(log: pd.DataFrame) -> None:
    """Print a summary of the log: a row for each kind of victim, and a row for all."""
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
    parser.add_argument("--kills", type=int, default=100, help="the number of kills")
    parser.add_argument("--seed", type=int, default=0, help="the seed of the moments and the victims")
    parser.add_argument("--log", type=Path, default=Path("benchmarks/results/faults.csv"), help="the log to add to")
    parser.add_argument("--table", action="store_true", help="only print the summary of the log")
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
