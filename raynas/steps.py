"""Durable steps: each has a name, and its result is written down before the next begins."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from raynas.progress import Reporter
from raynas.recipe import difference
from raynas.run_folder import RunFolder, digest
from search_spaces.errors import UserError

_FILE = "study.json"
_SCRATCH = ("checkpoints", "progress.json", "ray")
"""What a step needs until its result is written down: its checkpoints, and what Ray keeps for itself."""


class StepFailed(RuntimeError):
    """A step could not be finished; the same run can go on from what is finished of it."""


class Steps:
    """The steps of a run folder, in the order in which they were first asked for."""

    def __init__(self, folder: RunFolder, attempt: int, gpus: float, reporter: Reporter) -> None:
        """`gpus` is what each of a step's processes holds."""
        self._folder, self._attempt, self._gpus, self._reporter = folder, attempt, gpus, reporter
        self.records: list[dict[str, Any]] = _records(folder)

    def do(
        self,
        name: str,
        what: str,
        arguments: Mapping[str, Any],
        processes: int,
        work: Callable[[str], Mapping[str, Any]],
    ) -> dict[str, Any]:
        """The step's result: read back if it is finished, else worked out (again) and written down.

        Args:
            arguments: plain JSON: everything that decides the result.
            processes: how many processes the step keeps busy, for its worker-seconds.
            work: is given the step's folder in the run folder, and returns the result as plain JSON.

        Raises:
            UserError: if the step was begun with other arguments.
        """
        record = next((one for one in self.records if one["name"] == name), None)
        if record is None:
            folder = f"steps/{len(self.records) + 1:02d}-{name}"
            record = {"name": name, "what": what, "folder": folder, "state": "begun", "seconds": 0.0}
            record |= {
                "worker_seconds": 0.0,
                "gpu_seconds": 0.0,
                "hash": digest(arguments),
                "arguments": dict(arguments),
                "result": None,
            }
            self.records.append(record)
        self._check(record, arguments)
        if record["state"] == "finished":
            self._reporter.say(f"{name} was finished before")
        else:
            self._work_out(record, what, processes, work)
        for scratch in _SCRATCH:
            self._folder.delete(f"{record['folder']}/{scratch}")
        result: dict[str, Any] = record["result"]
        return result

    def _check(self, record: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
        for field, before, now in difference(record["arguments"], arguments):
            raise UserError(
                f"The step {record['name']} in {self._folder.uri} was begun with {field} = {before!r}, not {now!r}: "
                "change it back, or give another folder with --out."
            )

    def _work_out(
        self, record: dict[str, Any], what: str, processes: int, work: Callable[[str], Mapping[str, Any]]
    ) -> None:
        before = record.get("attempt")
        record["attempt"] = self._attempt
        self._write()
        self._reporter.begin(record["name"], what)
        start = time.perf_counter()
        try:
            record["result"] = dict(work(record["folder"]))
            record["state"] = "finished"
        except UserError:
            if not before:  # refused before anything was done: the step may yet be asked for otherwise
                self.records.remove(record)
            raise
        finally:
            seconds = time.perf_counter() - start
            record["seconds"] += seconds
            record["worker_seconds"] += seconds * processes
            record["gpu_seconds"] += seconds * processes * self._gpus
            self._reporter.end(record["name"], seconds)
            self._write()

    def _write(self) -> None:
        self._folder.write_json(_FILE, {"steps": self.records})


def names(folder: RunFolder) -> list[str]:
    """The names of a run's steps, in order."""
    return [record["name"] for record in _records(folder)]


def _records(folder: RunFolder) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = folder.read_json(_FILE)["steps"] if folder.exists(_FILE) else []
    return records
