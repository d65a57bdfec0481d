"""The evaluation table of a run: one row for each evaluated architecture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from raynas.interfaces.searcher import Evaluation
from raynas.results.fit_result import read_networks, with_standalone
from raynas.storage.run_folder import RunFolder
from raynas.storage.step_records import step_names, table_file, table_files

if TYPE_CHECKING:
    from search_spaces import Architecture, SearchSpace

COLUMNS = [
    *("recipe_hash", "step", "trial", "iteration", "architecture", "part", "top1", "top5", "loss", "images"),
    *("batch_size", "macs", "params", "latency_ms", "feasible", "failure", "weights_version", "seed"),
    *("reproducible", "seconds"),
]


@dataclass(frozen=True)
class EvaluationTable:
    """The table in a run folder: one Parquet file for each step, trial and iteration, named after them.

    Columns:
        recipe_hash, step, trial, iteration, architecture: where the row comes from.
        part: the part of the images behind the figures, `validation` or `test`.
        top1, top5: accuracy in per cent.
        loss: mean cross-entropy in nats.
        images: the number of images.
        batch_size: images in one forward pass; below `evaluation.batch_size` if memory ran out.
        macs, params, latency_ms: costs; `latency_ms` is empty without a latency table.
        feasible: whether the architecture meets the budget.
        failure: why an architecture has no figures.
        weights_version: the step and epoch of the weights.
        seed: of the trial.
        reproducible: false if GPUs ran without `scale.deterministic`.
        seconds: the time of the measurement, the only column that differs between equal runs.
        standalone_top1, standalone_top5, standalone_balanced_top1: accuracy on the test images in per cent, if networks
            of the run were trained stand-alone. The last is the mean over the classes.

    Methods add columns of their own.
    """

    run: RunFolder

    def write(
        self, step: str, trial: int, iteration: int, evaluations: Sequence[Evaluation], shared: Mapping[str, Any]
    ) -> None:
        """Write or overwrite the rows of one iteration. `shared` holds the columns that are equal in all rows."""
        rows = [
            {
                **shared,
                "step": step,
                "trial": trial,
                "iteration": iteration,
                "architecture": str(evaluation.architecture),
                "top1": np.nan if evaluation.failure else evaluation.top1,
                "top5": np.nan if evaluation.failure else evaluation.top5,
                "loss": evaluation.loss,
                "images": evaluation.images,
                "batch_size": evaluation.batch_size,
                "macs": int(evaluation.costs["macs"]),
                "params": int(evaluation.costs["params"]),
                "latency_ms": evaluation.costs.get("latency_ms", np.nan),
                "feasible": evaluation.feasible,
                "failure": evaluation.failure,
                "seconds": evaluation.seconds,
            }
            for evaluation in evaluations
        ]
        own_columns = [key for key in shared if key not in COLUMNS]
        table = pd.DataFrame(rows, columns=[*COLUMNS, *own_columns])
        self.run.write_table(table_file(step, trial, iteration), table)

    def read_iteration(
        self, step: str, trial: int, iteration: int, architectures: Sequence[Architecture]
    ) -> list[Evaluation] | None:
        """Return the evaluations of an iteration; None if it was not written, or was of other architectures."""
        file = table_file(step, trial, iteration)
        if not self.run.is_whole(file):
            return None
        rows = self.run.read_table(file).to_dict("records")
        if [row["architecture"] for row in rows] != [str(architecture) for architecture in architectures]:
            return None
        return [_evaluation(architecture, row) for architecture, row in zip(architectures, rows, strict=True)]

    def copy_last_step(self, other: RunFolder, step: str, trial: int) -> None:
        """Copy the rows of another run's last step into this table, as rows of a step's trial."""
        rows = EvaluationTable(other).read()
        last = rows[rows["step"] == rows["step"].iloc[-1]].assign(step=step, trial=trial)
        self.run.write_table(table_file(step, trial, 0), last)

    def read(self, step: str | None = None) -> pd.DataFrame:
        """Return the rows of one step, or of all: in the order of steps, trials, iterations and architectures.

        Raises:
            DamagedFile: if a file cannot be read.
        """
        steps = [step] if step else step_names(self.run)
        tables = [self.run.read_table(file) for name in steps for file in table_files(self.run, name)]
        if not tables:
            return pd.DataFrame(columns=COLUMNS)
        return with_standalone(pd.concat(tables, ignore_index=True), read_networks(self.run))


def _evaluation(architecture: Architecture, row: Mapping[Any, Any]) -> Evaluation:
    costs = {key: row[key] for key in ("macs", "params", "latency_ms") if not pd.isna(row[key])}
    kept = {key: row[key] for key in ("loss", "images", "seconds", "feasible")}
    batch_size = None if pd.isna(row["batch_size"]) else int(row["batch_size"])
    if not pd.isna(row["failure"]):
        return Evaluation(architecture, 0.0, 0.0, costs=costs, batch_size=batch_size, failure=row["failure"], **kept)
    return Evaluation(architecture, row["top1"], row["top5"], costs=costs, batch_size=batch_size, **kept)


@dataclass(frozen=True)
class SearchResult:
    """The rows of one step, without failed architectures; and the architectures of the rows."""

    table: pd.DataFrame
    architectures: list[Architecture]

    @classmethod
    def read(cls, run: RunFolder, step: str, space: SearchSpace) -> SearchResult:
        rows = EvaluationTable(run).read(step)
        table = rows[rows["top1"].notna()].reset_index(drop=True)
        return cls(table, [space.parse(text) for text in table["architecture"]])
