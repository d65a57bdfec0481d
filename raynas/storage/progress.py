"""The progress of a run: a live line for each step, lasting lines for results, JSON lines for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from typing import Any, Protocol

from raynas.storage.run_folder import RunFolder

_LOG = "log.jsonl"


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


def describe_loading(figures: Mapping[str, float]) -> str:
    """Return how a training gets its images, in words: `312 images/s, 4 % of the time waiting for images`.

    Args:
        figures: `images_per_second`, and `waiting`, a share from 0 to 1.
    """
    share = 100 * figures["waiting"]
    return f"{figures['images_per_second']:,.0f} images/s, {share:.0f} % of the time waiting for images"


class Quiet:
    """No output."""

    def begin(self, step: str, description: str) -> None: ...

    def update(self, done: int, total: int, detail: str = "") -> None: ...

    def end(self, step: str, seconds: float) -> None: ...

    def say(self, text: str) -> None: ...

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None: ...


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
