"""`raynas watch`: a run as its folder shows it, from another terminal or another machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pandas as pd
from rich.console import Group
from rich.live import Live
from rich.text import Text

from raynas.results.evaluation_table import EvaluationTable
from raynas.results.outcome import is_finished
from raynas.storage import lock
from raynas.storage.progress import plain_table, wide_console
from raynas.storage.run_folder import DamagedFile, RunFolder
from raynas.storage.step_records import check_is_run, records

_SECONDS = 1.0


def watch(run: str) -> None:
    """Show a run until it ends; its table stays on the screen, and is all that is printed where there is none.

    Raises:
        UserError: if the folder is not that of a run.
    """
    console, statuses = wide_console(), _statuses(RunFolder(run))
    if not console.is_terminal:
        *_, last = statuses
        console.print(_view(last))
        return
    with Live(console=console, auto_refresh=False) as live:
        for now in statuses:
            live.update(_view(now), refresh=True)


def status(run: str) -> dict[str, Any]:
    """How far a run has come, as plain JSON.

    Returns:
        `run`; `state`, which is finished, running or stopped; `held_by`, the process that runs it; `steps`, each with
        `name`, `description`, `state`, `seconds` and, while it is under way, `done` of `total` and `detail`; `evaluations`,
        and `best_top1` of the last step that has any.

    Raises:
        UserError: if the folder is not that of a run.
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
        "steps": [_step(folder, step, table) for step in steps],
        "evaluations": len(table),
        "best_top1": float(last["top1"].max()) if len(last) else None,
    }


def _statuses(folder: RunFolder) -> Iterator[dict[str, Any]]:
    """The run's status about every second, the last time when it runs no more."""
    while True:
        now = status(folder.uri)
        yield now
        if now["state"] != "running":
            return
        time.sleep(_SECONDS)


def _step(folder: RunFolder, step: dict[str, Any], table: pd.DataFrame) -> dict[str, Any]:
    about = {key: step[key] for key in ("name", "description", "state", "seconds")}
    if step["state"] == "finished":
        return about
    try:
        progress = folder.read_json(f"{step['folder']}/progress.json")
    except (FileNotFoundError, DamagedFile):
        rows = table[table["step"] == step["name"]]
        best = f"best {rows['top1'].max():.2f} %" if len(rows) else ""
        return {**about, "done": len(rows), "total": None, "detail": best}
    detail = f"training loss {progress['loss']:.3f}"
    return {**about, "done": progress["done"], "total": progress["total"], "detail": detail}


def _view(status: dict[str, Any]) -> Group:
    rows = [[step["name"], step["description"], _far(step)] for step in status["steps"]]
    best = "" if status["best_top1"] is None else f", best of the last step {status['best_top1']:.2f} %"
    said = {
        "running": f"running ({status['held_by']})",
        "finished": "finished",
        "stopped": "not running, and not finished: the same command goes on with it",
    }
    line = f"{status['run']}: {said[status['state']]}; {status['evaluations']:,} evaluations{best}"
    return Group(plain_table(["step", "description", "how far"], rows), Text(line))


def _far(step: dict[str, Any]) -> str:
    if step["state"] == "finished":
        return f"ended after {step['seconds']:.0f} s"
    total = "" if step["total"] is None else f" of {step['total']:,} steps ({100 * step['done'] / step['total']:.0f} %)"
    done = f"{step['done']:,}{total or ' evaluations'}"
    return f"{done}, {step['detail']}" if step["detail"] else done
