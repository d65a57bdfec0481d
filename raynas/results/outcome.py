"""The evaluation table and what a run comes to: every figure that raynas reports is read from here, with pandas."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from raynas.interfaces.searcher import Evaluation
from raynas.results import fit_result
from raynas.storage.run_folder import RunFolder
from raynas.study import steps
from search_spaces.errors import UserError

if TYPE_CHECKING:
    from search_spaces import Architecture, SearchSpace

TESTED = "-test"
"""How the names of steps end that measure a network, trained alone, on the test images."""
COLUMNS = [
    "study",
    "step",
    "trial",
    "iteration",
    "architecture",
    "top1",
    "top5",
    "loss",
    "images",
    "batch_size",
    "macs",
    "params",
    "latency_ms",
    "feasible",
    "failed",
    "weights",
    "seed",
    "reproducible",
    "seconds",
]


@dataclass(frozen=True)
class EvaluationTable:
    """One row an evaluated architecture; one Parquet file a (step, trial, iteration), named after them.

    `top1` and `top5` are in per cent, `loss` in nats, `latency_ms` is empty without a latency table. `failed` says why
    an architecture could not be measured; it has no figures then. `batch_size` is how many images were measured at
    once: fewer than `evaluation.batch_size` where memory ran out. `study` is the
    recipe's hash, `weights` the step and epoch that the weights come from. `reproducible` is false where GPUs ran
    without `scale.deterministic`; otherwise only `seconds` differs between equal runs. Where networks of the run were
    trained alone, `standalone_top1` and `standalone_top5` are theirs on the test images, in per cent.
    """

    run: RunFolder

    def write(
        self, step: str, trial: int, iteration: int, evaluations: Sequence[Evaluation], about: dict[str, Any]
    ) -> None:
        """Write (or overwrite) one iteration; `about` holds the columns that its rows share, the method's own too."""
        rows = [
            {
                **about,
                "step": step,
                "trial": trial,
                "iteration": iteration,
                "architecture": str(one.architecture),
                "top1": np.nan if one.failed else one.top1,
                "top5": np.nan if one.failed else one.top5,
                "loss": one.loss,
                "images": one.images,
                "batch_size": one.batch_size,
                "macs": int(one.costs["macs"]),
                "params": int(one.costs["params"]),
                "latency_ms": one.costs.get("latency_ms", np.nan),
                "feasible": one.feasible,
                "failed": one.failed,
                "seconds": one.seconds,
            }
            for one in evaluations
        ]
        more = [key for key in about if key not in COLUMNS]
        self.run.write_table(steps.table_file(step, trial, iteration), pd.DataFrame(rows, columns=[*COLUMNS, *more]))

    def written(
        self, step: str, trial: int, iteration: int, architectures: Sequence[Architecture]
    ) -> list[Evaluation] | None:
        """The evaluations of an iteration that asked for these architectures, if it was written and can be read."""
        file = steps.table_file(step, trial, iteration)
        if not self.run.is_whole(file):
            return None
        rows = self.run.read_table(file).to_dict("records")
        if [row["architecture"] for row in rows] != [str(one) for one in architectures]:
            return None
        return [_evaluation(one, row) for one, row in zip(architectures, rows, strict=True)]

    def adopt(self, other: RunFolder, step: str, trial: int) -> None:
        """Take the last step's rows of another run as a trial's of this one."""
        rows = EvaluationTable(other).read()
        last = rows[rows["step"] == rows["step"].iloc[-1]].assign(step=step, trial=trial)
        self.run.write_table(steps.table_file(step, trial, 0), last)

    def read(self, step: str | None = None) -> pd.DataFrame:
        """The rows of one step, or of all; by step in the order of the run, trial, iteration and place.

        Raises:
            Damaged: if a file cannot be read.
        """
        order = [step] if step else steps.names(self.run)
        tables = [self.run.read_table(file) for one in order for file in steps.tables(self.run, one)]
        if not tables:
            return pd.DataFrame(columns=COLUMNS)
        return fit_result.with_standalone(pd.concat(tables, ignore_index=True), fit_result.networks(self.run))


def _evaluation(architecture: Architecture, row: Mapping[Any, Any]) -> Evaluation:
    """What was written as a row."""
    costs = {key: row[key] for key in ("macs", "params", "latency_ms") if not pd.isna(row[key])}
    kept = {key: row[key] for key in ("loss", "images", "seconds", "feasible")}
    batch_size = None if pd.isna(row["batch_size"]) else int(row["batch_size"])
    if not pd.isna(row["failed"]):
        return Evaluation(architecture, 0.0, 0.0, costs=costs, batch_size=batch_size, failed=row["failed"], **kept)
    return Evaluation(architecture, row["top1"], row["top5"], costs=costs, batch_size=batch_size, **kept)


@dataclass(frozen=True)
class Found:
    """What a search has measured: its rows of the table and their architectures.

    Attributes:
        table: without what could not be measured.
    """

    table: pd.DataFrame
    architectures: list[Architecture]

    @classmethod
    def read(cls, run: RunFolder, step: str, space: SearchSpace) -> Found:
        everything = EvaluationTable(run).read(step)
        table = everything[everything["top1"].notna()].reset_index(drop=True)
        return cls(table, [space.parse(text) for text in table["architecture"]])


def non_domination_ranks(top1: ArrayLike, cost: ArrayLike) -> NDArray[np.int64]:
    """The non-domination rank of each architecture; the Pareto front's is 1.

    One architecture dominates another if it is no worse in accuracy and cost, and better in one of them.

    Args:
        top1: accuracies in per cent, shape (n,).
        cost: what the accuracy is paid with, shape (n,).
    """
    from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

    objectives = np.column_stack([-np.asarray(top1, dtype=float), np.asarray(cost, dtype=float)])
    _, ranks = NonDominatedSorting().do(objectives, return_rank=True)
    return np.asarray(ranks, dtype=np.int64) + 1


def eligible(table: pd.DataFrame) -> pd.Series[bool]:
    """Which rows are of architectures that meet the budget and could be measured."""
    return table["feasible"].astype(bool) & table["top1"].notna()


def pareto_front(table: pd.DataFrame, cost: str) -> pd.DataFrame:
    """The distinct architectures that no other dominates in `top1` and `cost`, the cheapest first."""
    distinct = table[eligible(table)].drop_duplicates("architecture")
    if distinct.empty:
        return distinct
    on_front = non_domination_ranks(distinct["top1"], distinct[cost]) == 1
    front: pd.DataFrame = distinct[on_front].sort_values([cost, "architecture"], ignore_index=True)
    return front


@dataclass(frozen=True)
class Outcome:
    """What a run comes to.

    Attributes:
        run: the run folder's URI.
        method: the method's name.
        space: the space's specification, as the method left it.
        table: every evaluation of the run.
        final: the step whose evaluations the front and the best are taken from.
        cost: the resource of the Pareto front: `macs`, `params` or `latency_ms`.
        weights: the file of the supernet's weights in the run folder.
    """

    run: str
    method: str
    space: dict[str, Any]
    table: pd.DataFrame
    final: str
    cost: str
    weights: str | None

    @property
    def evaluated(self) -> pd.DataFrame:
        """The rows of the final step."""
        rows: pd.DataFrame = self.table[self.table["step"] == self.final]
        return rows

    @property
    def front(self) -> pd.DataFrame:
        """The Pareto front of the final step: one row a network, the cheapest first."""
        columns = ["architecture", "top1", "macs", "params", "latency_ms"]
        front = pareto_front(self.evaluated, self.cost).reindex(columns=columns)
        most_accurate_first = front.sort_values("top1", ascending=False, kind="stable")
        return self._distinct(most_accurate_first).sort_index().reset_index(drop=True)

    @property
    def whole_space(self) -> SearchSpace:
        """The space with all options, those that the method pruned too: it parses whatever the table holds."""
        from search_spaces import from_specification

        return from_specification({**self.space, "restriction": {}})

    @property
    def is_tested(self) -> bool:
        """Whether the final step's accuracies are those of networks trained alone, on the test images."""
        return self.final.endswith(TESTED)

    @property
    def best(self) -> dict[str, Any]:
        """The most accurate architecture of the front: `architecture`, `top1`, `macs`, `params`, `latency_ms`."""
        front = json_rows(self.front)
        return max(front, key=lambda row: row["top1"]) if front else {}

    def most_accurate(self, count: int) -> list[str]:
        """The architectures of the final step within the budget, the most accurate first, at most so many.

        Of those of equal accuracy the cheaper comes first, as on the front; of isomorphic ones, which are one network
        when it is trained alone, it is the first that counts.
        """
        final = self.evaluated[eligible(self.evaluated)]
        order = final.sort_values(["top1", self.cost, "architecture"], ascending=[False, True, True])
        return list(self._distinct(order)["architecture"][:count])

    def _distinct(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows without those whose network an earlier one has.

        As isomorphic networks cost the same, the space is asked only about rows of equal costs.
        """
        network = rows["architecture"].copy()
        alike = rows.duplicated(["macs", "params"], keep=False)
        if network[alike].nunique() > 1:
            space = self.whole_space
            network[alike] = [str(space.canonical(space.parse(text))) for text in network[alike]]
        return rows[~network.duplicated()]

    @property
    def correlations(self) -> dict[str, float] | None:
        """How one-shot accuracy ranks those of the final step that were trained alone (`fit_result.correlations`)."""
        return None if self.is_tested else fit_result.correlations(self.trained_alone)

    @property
    def trained_alone(self) -> pd.DataFrame:
        """The rows of the final step whose networks were trained alone, one a network (`fit_result.trained_alone`)."""
        return fit_result.trained_alone(self.evaluated, fit_result.networks(RunFolder(self.run)))

    def write(self) -> None:
        """Write `front.csv`, `best.json` and what `load` needs into the run folder."""
        folder = RunFolder(self.run)
        folder.write("front.csv", self.front.to_csv(index=False).encode())
        folder.write_json("best.json", self.best)
        about = {"method": self.method, "space": self.space, "final": self.final, "cost": self.cost}
        folder.write_json("outcome.json", {**about, "weights": self.weights})

    def json_value(self) -> dict[str, Any]:
        """`run`, `method`, `space`, `best` and `front` as plain JSON: what the commands print for programs."""
        about = {"run": self.run, "method": self.method, "space": self.space["name"]}
        return {**about, "best": self.best, "front": json_rows(self.front)}


def load(run: str | Path) -> Outcome:
    """The outcome of a finished run.

    Raises:
        UserError: if the folder holds no run, or a run that is not finished.
    """
    folder = RunFolder(run)
    if not folder.exists("recipe.yaml"):
        raise UserError(f"{folder.uri} is not the folder of a run: it has no recipe.yaml.")
    if not folder.exists("outcome.json"):
        raise UserError(f"The run in {folder.uri} is not finished: run its recipe again to go on with it.")
    return Outcome(run=folder.uri, table=EvaluationTable(folder).read(), **folder.read_json("outcome.json"))


def json_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A table's rows as JSON has them, null where there is no number."""
    rows: list[dict[str, Any]] = json.loads(table.to_json(orient="records", double_precision=15))
    return rows
