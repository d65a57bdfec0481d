"""What a run says while it runs: one live line a step, a lasting line for each result, JSON lines for programs."""

from __future__ import annotations

import json
import sys
import time
from typing import Any, Protocol

from raynas.storage.run_folder import RunFolder

_LOG = "log.jsonl"


class Reporter(Protocol):
    """Where a run's words go. Everything goes to stderr: stdout belongs to the command's result."""

    def begin(self, step: str, what: str) -> None:
        """A step begins."""

    def update(self, done: int, total: int, detail: str = "") -> None:
        """The step has come so far."""

    def end(self, step: str, seconds: float) -> None:
        """The step has ended."""

    def say(self, text: str) -> None:
        """A lasting line."""

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None:
        """A lasting table."""


class Quiet:
    """Says nothing."""

    def begin(self, step: str, what: str) -> None: ...

    def update(self, done: int, total: int, detail: str = "") -> None: ...

    def end(self, step: str, seconds: float) -> None: ...

    def say(self, text: str) -> None: ...

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None: ...


class Logged:
    """Another reporter that also writes every lasting event into the run folder's `log.jsonl`."""

    def __init__(self, reporter: Reporter, folder: RunFolder) -> None:
        self._reporter, self._folder = reporter, folder
        self._lines = folder.read(_LOG).decode(errors="replace").splitlines() if folder.exists(_LOG) else []

    def begin(self, step: str, what: str) -> None:
        self._reporter.begin(step, what)
        self._write(event="begin", step=step, what=what)

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
    """One JSON object a line."""

    def begin(self, step: str, what: str) -> None:
        self._step = step
        self._print(event="begin", step=step, what=what)

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
