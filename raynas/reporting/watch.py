"""`raynas watch`: the progress of a run, read from its folder. Another terminal or another machine can watch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pandas as pd
from rich.console import Group
from rich.live import Live
from rich.text import Text

from raynas.reporting.terminal import ended_after, plain_table, wide_console
from raynas.results.evaluation_table import EvaluationTable
from raynas.results.outcome import is_finished
from raynas.storage import lock
from raynas.storage.progress import describe_loading
from raynas.storage.run_folder import DamagedFile, RunFolder
from raynas.storage.step_records import check_is_run, records
from search_spaces.errors import format_count

_SECONDS = 1.0
"""The time between two readings of the run folder."""


def watch_run(run: str) -> None:
    """Show the steps of a run until it ends. In a file or a pipe, only the last state is printed.

    Raises:
        UserError: if the folder is not the folder of a run.
    """
    console, statuses = wide_console(), _statuses(RunFolder(run))
    if not console.is_terminal:
        *_, last = statuses
        console.print(_view(last))
        return
    with Live(console=console, auto_refresh=False) as live:
        for status in statuses:
            live.update(_view(status), refresh=True)


def read_status(run: str) -> dict[str, Any]:
    """Return the progress of a run as plain JSON.

    Returns:
        `run`; `state`: finished, running or stopped; `held_by`: the process that runs it; `steps`, each with `name`,
        `description`, `state`, `seconds` and, until it is finished, `done`, `total` and `detail`; `evaluations`: their
        number; `best_top1`: the best accuracy of the last step with evaluations.

    Raises:
        UserError: if the folder is not the folder of a run.
    """
    folder = RunFolder(run)
    check_is_run(folder)
    steps = records(folder)
    try:
        table = EvaluationTable(folder).read()
    except FileNotFoundError:  # a file of the table was replaced between its listing and its reading
        table = pd.DataFrame(columns=["step", "top1"])
    holder = lock.holder(folder)
    last = table[table["step"] == table["step"].iloc[-1]] if len(table) else table
    return {
        "run": folder.uri,
        "state": "running" if holder else "finished" if is_finished(folder) else "stopped",
        "held_by": f"process {holder['pid']} on {holder['host']}" if holder else None,
        "steps": [_step_status(folder, step, table) for step in steps],
        "evaluations": len(table),
        "best_top1": float(last["top1"].max()) if len(last) else None,
    }


def _statuses(folder: RunFolder) -> Iterator[dict[str, Any]]:
    """Yield the status of a run about every second, for the last time when the run has ended."""
    while True:
        status = read_status(folder.uri)
        yield status
        if status["state"] != "running":
            return
        time.sleep(_SECONDS)


def _step_status(folder: RunFolder, step: dict[str, Any], table: pd.DataFrame) -> dict[str, Any]:
    status = {key: step[key] for key in ("name", "description", "state", "seconds")}
    if step["state"] == "finished":
        return status
    try:
        progress = folder.read_json(f"{step['folder']}/progress.json")
    except (FileNotFoundError, DamagedFile):
        rows = table[table["step"] == step["name"]]
        best = f"best {rows['top1'].max():.2f} %" if len(rows) else ""
        return {**status, "done": len(rows), "total": None, "detail": best}
    detail = f"training loss {progress['loss']:.3f}, {describe_loading(progress)}"
    return {**status, "done": progress["done"], "total": progress["total"], "detail": detail}


def _view(status: dict[str, Any]) -> Group:
    rows = [[step["name"], step["description"], _format_progress(step)] for step in status["steps"]]
    best = "" if status["best_top1"] is None else f", best of the last step {status['best_top1']:.2f} %"
    states = {
        "running": f"running ({status['held_by']})",
        "finished": "finished",
        "stopped": "stopped before its end; run the same command again to continue",
    }
    line = f"{status['run']}: {states[status['state']]}; {format_count(status['evaluations'], 'evaluation')}{best}"
    return Group(plain_table(["step", "description", "progress"], rows), Text(line))


def _format_progress(step: dict[str, Any]) -> str:
    if step["state"] == "finished":
        return ended_after(step["seconds"])
    done = format_count(step["done"], "evaluation")
    if step["total"] is not None:
        percent = 100 * step["done"] / step["total"]
        done = f"{step['done']:,} of {format_count(step['total'], 'training step')} ({percent:.0f} %)"
    return f"{done}, {step['detail']}" if step["detail"] else done
