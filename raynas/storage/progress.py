"""The progress of a run: a live line for each step, lasting lines for results, JSON lines for programs."""

from __future__ import annotations

import json
import sys
import time
from typing import Any, Literal, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from raynas.storage.run_folder import RunFolder

Style = Literal["live", "quiet", "json"]

_LOG = "log.jsonl"
_WIDTH = 200


class Reporter(Protocol):
    """Where progress goes. Everything goes to stderr: stdout is for the command's result."""

    def begin(self, step: str, description: str) -> None:
        """Show that a step begins."""

    def update(self, done: int, total: int, detail: str = "") -> None:
        """Show how far the step is."""

    def end(self, step: str, seconds: float) -> None:
        """Show that the step has ended."""

    def say(self, text: str) -> None:
        """Show a lasting line."""

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None:
        """Show a lasting table."""


def reporter(style: Style) -> Reporter:
    """Return the reporter of a style: `live` for people, `quiet` for no output, `json` for programs."""
    kinds: dict[Style, type[Reporter]] = {"live": Live, "quiet": Quiet, "json": JsonLines}
    return kinds[style]()


def wide_console(stderr: bool = False) -> Console:
    """Return a console as wide as its terminal, or wide enough for an architecture if there is no terminal."""
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


class Quiet:
    """No output."""

    def begin(self, step: str, description: str) -> None: ...

    def update(self, done: int, total: int, detail: str = "") -> None: ...

    def end(self, step: str, seconds: float) -> None: ...

    def say(self, text: str) -> None: ...

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None: ...


class Live:
    """A line that moves while a step runs, and stays at its end."""

    def __init__(self) -> None:
        self._console = wide_console(stderr=True)
        self._line: Progress | None = None

    def begin(self, step: str, description: str) -> None:
        self._console.print(f"[bold]{step}[/bold]  {description}", soft_wrap=True)
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
        if self._line:
            self._line.update(self._task, completed=done, total=total, detail=f"{done} of {total} {detail}")

    def end(self, step: str, seconds: float) -> None:
        if self._line:
            self._line.stop()
            self._line = None
        self._console.print(f"  [dim]ended after {seconds:.0f} s[/dim]")

    def say(self, text: str) -> None:
        self._console.print(f"  {text}", soft_wrap=True, markup=False)

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None:
        self._console.print(plain_table(columns, rows, title))


class Logged:
    """Another reporter, which also writes every lasting event into `log.jsonl` of the run folder."""

    def __init__(self, reporter: Reporter, folder: RunFolder) -> None:
        self._reporter, self._folder = reporter, folder
        self._lines = folder.read(_LOG).decode(errors="replace").splitlines() if folder.exists(_LOG) else []

    def begin(self, step: str, description: str) -> None:
        self._reporter.begin(step, description)
        self._write(event="begin", step=step, description=description)

    def update(self, done: int, total: int, detail: str = "") -> None:
        self._reporter.update(done, total, detail)

    def end(self, step: str, seconds: float) -> None:
        self._reporter.end(step, seconds)
        self._write(event="end", step=step, seconds=round(seconds, 3))

    def say(self, text: str) -> None:
        self._reporter.say(text)
        self._write(event="say", text=text)

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None:
        self._reporter.table(title, columns, rows)
        self._write(event="table", title=title, rows=[dict(zip(columns, row, strict=True)) for row in rows])

    def _write(self, **event: Any) -> None:
        self._lines.append(_line(event))
        self._folder.write(_LOG, "".join(f"{line}\n" for line in self._lines).encode())


class JsonLines:
    """JSON lines, one object for each event."""

    def begin(self, step: str, description: str) -> None:
        self._step = step
        self._print(event="begin", step=step, description=description)

    def update(self, done: int, total: int, detail: str = "") -> None:
        self._print(event="update", step=self._step, done=done, total=total, detail=detail)

    def end(self, step: str, seconds: float) -> None:
        self._print(event="end", step=step, seconds=round(seconds, 3))

    def say(self, text: str) -> None:
        self._print(event="say", text=text)

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None:
        self._print(event="table", title=title, rows=[dict(zip(columns, row, strict=True)) for row in rows])

    def _print(self, **event: Any) -> None:
        print(_line(event), file=sys.stderr, flush=True)


def _line(event: dict[str, Any]) -> str:
    return json.dumps({"time": round(time.time(), 3), **event}, ensure_ascii=False)
