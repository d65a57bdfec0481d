"""Output on a terminal: results on stdout, the live progress of a run on stderr."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

_WIDTH = 200
"""Characters a line in a file or a pipe: enough for an architecture."""


_LINE_SECONDS = 30
"""The least time between two lines about the progress of a step, where no line can move."""


def print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False))


def print_table(columns: list[str], rows: list[list[str]]) -> None:
    wide_console().print(plain_table(columns, rows))


def wide_console(stderr: bool = False) -> Console:
    """Return a console as wide as its terminal; in a file or a pipe, wide enough for an architecture."""
    console = Console(stderr=stderr, highlight=False)
    return console if console.is_terminal else Console(stderr=stderr, highlight=False, width=_WIDTH)


def plain_table(columns: list[str], rows: list[list[str]], title: str | None = None) -> Table:
    """Return a table without lines. Only its last column is folded."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns[:-1]:
        table.add_column(column, no_wrap=True)
    table.add_column(columns[-1], overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def ended_after(seconds: float) -> str:
    """Return the words about a step's time, with a tenth of a second if it is short."""
    return f"ended after {seconds:.{0 if seconds >= 10 else 1}f} s"


def _time_left(seconds: float, done: int, rest: int) -> str:
    """Return words about the time for the rest, at the speed of what was done in some seconds; none if that is 0."""
    if done <= 0 or rest <= 0:
        return ""
    left = seconds / done * rest
    return f", about {left / 60:.0f} min left" if left >= 90 else f", about {left:.0f} s left"


class Live:
    """A reporter for people: one line that moves while a step runs, and stays when the step has ended.

    In a file or a pipe no line can move: there, a line of its own says how far the step is, at most every 30 seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = wide_console(stderr=True), clock
        self._line: Progress | None = None
        self._printed = 0.0
        self._first: tuple[float, int] | None = None

    def begin(self, step: str, description: str) -> None:
        self._console.print(f"[bold]{step}[/bold]  {description}", soft_wrap=True)
        self._printed, self._first = self._clock(), None
        if not self._console.is_terminal:
            return
        self._line = Progress(
            BarColumn(bar_width=24),
            TextColumn("{task.fields[detail]}"),
            TimeRemainingColumn(compact=True),
            console=self._console,
            transient=True,
        )
        self._task = self._line.add_task("", total=None, detail="starting")
        self._line.start()

    def update(self, done: int, total: int, detail: str = "") -> None:
        progress = f"{done:,} of {total:,} {detail}"
        if self._line:
            self._line.update(self._task, completed=done, total=total, detail=progress)
            return
        now = self._clock()
        self._first = self._first or (now, done)  # the start of processes before it is no measure of the speed
        if now - self._printed >= _LINE_SECONDS:
            self._printed = now
            self.say(f"{progress}{_time_left(now - self._first[0], done - self._first[1], total - done)}")

    def end(self, step: str, seconds: float) -> None:
        if self._line:
            self._line.stop()
            self._line = None
        self._console.print(f"  [dim]{ended_after(seconds)}[/dim]")

    def say(self, text: str) -> None:
        self._console.print(f"  {text}", soft_wrap=True, markup=False)

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None:
        self._console.print(plain_table(columns, rows, title))
