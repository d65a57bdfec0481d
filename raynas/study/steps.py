"""Durable steps: each has a name, and its result is written before the next step begins.

A finished step runs again only if one of its files is damaged or gone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from raynas.storage.difference import difference
from raynas.storage.progress import Reporter
from raynas.storage.run_folder import RunFolder, digest
from raynas.storage.step_records import StepKind, records, table_files, write_records
from search_spaces.errors import UserError

_VERIFIED = (".json", ".safetensors")
_TEMPORARY = ("checkpoints", "progress.json", "ray")
"""What a step needs until its result is written: its checkpoints, its progress, and Ray's own files."""
Work = Callable[[str], Mapping[str, Any]]
"""The work of a step: the step's folder in the run folder -> the result as plain JSON."""


class Steps:
    """The steps of a run folder, in the order of their first call."""

    def __init__(self, folder: RunFolder, attempt: int, reporter: Reporter) -> None:
        self._folder, self._attempt, self._reporter = folder, attempt, reporter
        self.records: list[dict[str, Any]] = records(folder)

    def do(
        self,
        name: str,
        kind: StepKind,
        description: str,
        identity: Mapping[str, Any],
        work: Work,
        processes: int = 0,
        gpus: float = 0,
    ) -> dict[str, Any]:
        """Return the result of a step: read back if the step is finished, otherwise computed and written.

        Args:
            description: what the step does, for people (`training 1e+04 architectures for 2 epochs`).
            identity: everything that decides the result, as plain JSON.
            processes, gpus: how many processes the step keeps busy, and the GPUs of each: for its worker-seconds.

        Raises:
            UserError: if the step began with another identity.
        """
        record = self._record(name, kind, description, identity)
        self._check(record, identity)
        damaged = [file for file in record.get("files", ()) if not self._folder.is_whole(file)]
        if record["state"] == "finished" and not damaged:
            self._reporter.say(f"{name} was finished before")
        else:
            if damaged:
                self._reporter.say(f"{damaged[0]} is damaged or missing: the step {name} runs again")
            self._compute(record, work, processes, gpus)
        for file in _TEMPORARY:
            self._folder.delete(f"{record['folder']}/{file}")
        result: dict[str, Any] = record["result"]
        return result

    def _record(self, name: str, kind: StepKind, description: str, identity: Mapping[str, Any]) -> dict[str, Any]:
        for record in self.records:
            if record["name"] == name:
                return record
        record = {
            "name": name,
            "kind": kind,
            "description": description,
            "folder": f"steps/{len(self.records) + 1:02d}-{name}",
            "state": "begun",
            "seconds": 0.0,
            "worker_seconds": 0.0,
            "gpu_seconds": 0.0,
            "hash": digest(identity),
            "identity": dict(identity),
            "result": None,
        }
        self.records.append(record)
        return record

    def _check(self, record: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
        for field, before, now in difference(record["identity"], identity):
            raise UserError(
                f"The step {record['name']} in {self._folder.uri} began with {field} = {before!r}, not {now!r}: "
                "change it back, or give another folder with --out."
            )

    def _compute(self, record: dict[str, Any], work: Work, processes: int, gpus: float) -> None:
        earlier_attempt = record.get("attempt")
        record |= {"attempt": self._attempt, "state": "begun"}
        write_records(self._folder, self.records)
        self._reporter.begin(record["name"], record["description"])
        start = time.perf_counter()
        try:
            record["result"] = dict(work(record["folder"]))
            record |= {"state": "finished", "files": self._result_files(record)}
        except UserError:
            # Refused before anything was computed: forget the step, so that a corrected recipe may begin it.
            if not earlier_attempt:
                self.records.remove(record)
            raise
        finally:
            seconds = time.perf_counter() - start
            record["seconds"] += seconds
            record["worker_seconds"] += seconds * processes
            record["gpu_seconds"] += seconds * processes * gpus
            self._reporter.end(record["name"], seconds)
            write_records(self._folder, self.records)

    def _result_files(self, record: Mapping[str, Any]) -> list[str]:
        """Return the files that must be whole for the step to count as finished."""
        own = [f"{record['folder']}/{name}" for name in self._folder.names(record["folder"])]
        lasting = [name for name in own if name.endswith(_VERIFIED) and not name.endswith(_TEMPORARY)]
        return [*lasting, *table_files(self._folder, record["name"])]
