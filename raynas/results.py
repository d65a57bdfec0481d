"""The evaluation table and what a run comes to: every figure that raynas reports is read from here, with pandas."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from raynas import fitted, steps
from raynas.run_folder import Damaged, RunFolder
from raynas.searcher import Evaluation
from search_spaces.errors import UserError

if TYPE_CHECKING:
    from search_spaces import Architecture, SearchSpace

_FOLDER = "evaluations"
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
    "macs",
    "params",
    "latency_ms",
    "feasible",
    "weights",
    "seed",
    "reproducible",
    "seconds",
]


@dataclass(frozen=True)
class EvaluationTable:
    """One row an evaluated architecture; one Parquet file a (step, trial, iteration), named after them.

    `top1` and `top5` are in per cent, `loss` in nats, `latency_ms` is empty without a latency table. `study` is the
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
                "top1": one.top1,
                "top5": one.top5,
                "loss": one.loss,
                "images": one.images,
                "macs": int(one.costs["macs"]),
                "params": int(one.costs["params"]),
                "latency_ms": one.costs.get("latency_ms", np.nan),
                "feasible": one.feasible,
                "seconds": one.seconds,
            }
            for one in evaluations
        ]
        name = f"{_FOLDER}/{step}.trial-{trial:03d}.iteration-{iteration:05d}.parquet"
        more = [key for key in about if key not in COLUMNS]
        self.run.write_table(name, pd.DataFrame(rows, columns=[*COLUMNS, *more]))

    def adopt(self, other: RunFolder, step: str, trial: int) -> None:
        """Take the last step's rows of another run as a trial's of this one."""
        rows = EvaluationTable(other).read()
        last = rows[rows["step"] == rows["step"].iloc[-1]].assign(step=step, trial=trial)
        self.run.write_table(f"{_FOLDER}/{step}.trial-{trial:03d}.iteration-00000.parquet", last)

    def read(self, step: str | None = None) -> pd.DataFrame:
        """The rows of one step, or of all; by step in the order of the run, trial, iteration and place."""
        order = [step] if step else steps.names(self.run)
        files = [name for one in order for name in self.run.names(_FOLDER) if name.startswith(f"{one}.trial-")]
        tables = []
        for name in files:
            try:
                tables.append(self.run.read_table(f"{_FOLDER}/{name}"))
            except Damaged as fault:
                raise UserError(f"{fault} Run the recipe again in another folder.") from fault
        if not tables:
            return pd.DataFrame(columns=COLUMNS)
        return fitted.with_standalone(pd.concat(tables, ignore_index=True), fitted.networks(self.run))


@dataclass(frozen=True)
class Found:
    """What a search evaluated: its rows of the table and their architectures."""

    table: pd.DataFrame
    architectures: list[Architecture]

    @classmethod
    def read(cls, run: RunFolder, step: str, space: SearchSpace) -> Found:
        table = EvaluationTable(run).read(step)
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


def pareto_front(table: pd.DataFrame, cost: str) -> pd.DataFrame:
    """The distinct architectures that no other dominates in `top1` and `cost`, the cheapest first."""
    distinct = table[table["feasible"].astype(bool)].drop_duplicates("architecture")
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
        """The Pareto front of the final step: one row an architecture, the cheapest first."""
        columns = ["architecture", "top1", "macs", "params", "latency_ms"]
        return pareto_front(self.evaluated, self.cost).reindex(columns=columns)

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

        Of those of equal accuracy the cheaper comes first, as on the front.
        """
        final = self.evaluated[self.evaluated["feasible"].astype(bool)]
        order = final.sort_values(["top1", self.cost, "architecture"], ascending=[False, True, True])
        return list(order["architecture"].drop_duplicates()[:count])

    @property
    def correlations(self) -> dict[str, float] | None:
        """How one-shot accuracy ranks those of the final step that were trained alone (`fitted.correlations`)."""
        return None if self.is_tested else fitted.correlations(self.evaluated)

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
