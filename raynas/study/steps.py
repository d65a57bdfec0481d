"""Durable steps: each has a name, and its result is written down before the next begins.

A finished step is done again only where a file that it left is damaged or gone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from raynas.recipe.recipe import difference
from raynas.storage.progress import Reporter
from raynas.storage.run_folder import RunFolder, digest
from search_spaces.errors import UserError

_FILE, _BEFORE = "study.json", "study-before.json"
_TABLES = "evaluations"
_VERIFIED = (".json", ".safetensors")
_SCRATCH = ("checkpoints", "progress.json", "ray")
"""What a step needs until its result is written down: its checkpoints, and what Ray keeps for itself."""


class StepFailed(RuntimeError):
    """A step could not be finished; the same run can go on from what is finished of it."""


class Steps:
    """The steps of a run folder, in the order in which they were first asked for."""

    def __init__(self, folder: RunFolder, attempt: int, gpus: float, reporter: Reporter) -> None:
        """`gpus` is what each of a step's processes holds."""
        self._folder, self._attempt, self._gpus, self._reporter = folder, attempt, gpus, reporter
        self.records: list[dict[str, Any]] = records(folder)

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
        lost = [file for file in record.get("files", ()) if not self._folder.is_whole(file)]
        if record["state"] == "finished" and not lost:
            self._reporter.say(f"{name} was finished before")
        else:
            if lost:
                self._reporter.say(f"{lost[0]} is damaged or gone: {name} is done again")
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
        record |= {"attempt": self._attempt, "state": "begun"}
        self._write()
        self._reporter.begin(record["name"], what)
        start = time.perf_counter()
        try:
            record["result"] = dict(work(record["folder"]))
            record |= {"state": "finished", "files": self._left(record)}
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

    def _left(self, record: Mapping[str, Any]) -> list[str]:
        """The files by which a step's end is known to be whole."""
        own = [f"{record['folder']}/{name}" for name in self._folder.names(record["folder"])]
        lasting = [name for name in own if name.endswith(_VERIFIED) and not name.endswith(_SCRATCH)]
        return [*lasting, *tables(self._folder, record["name"])]

    def _write(self) -> None:
        for file in (_BEFORE, _FILE):
            self._folder.write_json(file, {"steps": self.records})


def names(folder: RunFolder) -> list[str]:
    """The names of a run's steps, in order."""
    return [record["name"] for record in records(folder)]


def tables(folder: RunFolder, step: str) -> list[str]:
    """The files of a step's rows of the evaluation table, in order."""
    return [f"{_TABLES}/{name}" for name in folder.names(_TABLES) if name.startswith(f"{step}.trial-")]


def table_file(step: str, trial: int, iteration: int) -> str:
    """The file of one iteration's rows of the evaluation table."""
    return f"{_TABLES}/{step}.trial-{trial:03d}.iteration-{iteration:05d}.parquet"


def records(folder: RunFolder) -> list[dict[str, Any]]:
    """What a run folder holds of its steps: the newest that can be read, as it is written twice.

    Raises:
        Damaged: if neither can be read.
    """
    for file in (_FILE, _BEFORE):
        if folder.is_whole(file):
            return list(folder.read_json(file)["steps"])
    if folder.exists(_FILE):
        folder.read_json(_FILE)
    return []
