"""The outcome of a run: its Pareto front, its best network, and how well one-shot accuracy ranked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from raynas.results.evaluation_table import EvaluationTable
from raynas.results.fit_result import correlations, read_networks, standalone_rows
from raynas.results.pareto import eligible, pareto_front
from raynas.storage.run_folder import RunFolder
from raynas.storage.step_records import check_is_run
from search_spaces.errors import Problems, UserError

if TYPE_CHECKING:
    from search_spaces import SearchSpace

_FILE = "outcome.json"
_COSTS = ("macs", "params", "latency_ms")


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run.

    Attributes:
        run: the run folder's URI.
        method: the method's name.
        space: the specification of the space that the method left.
        table: the evaluation table.
        final: the step of the Pareto front and the best network.
        cost: the resource of the Pareto front: `macs`, `params` or `latency_ms`.
        weights: the file of the supernet's weights in the run folder.
        network_weights: the file of the final network's own weights, if the method trained that network.
    """

    run: str
    method: str
    space: dict[str, Any]
    table: pd.DataFrame
    final: str
    cost: str
    weights: str | None
    network_weights: str | None = None

    @property
    def evaluated(self) -> pd.DataFrame:
        """The rows of the final step."""
        rows: pd.DataFrame = self.table[self.table["step"] == self.final]
        return rows

    @property
    def front(self) -> pd.DataFrame:
        """The Pareto front of the final step: one row a network, the cheapest first."""
        front = pareto_front(self.evaluated, self.cost).reindex(columns=["architecture", "top1", *_COSTS])
        most_accurate_first = front.sort_values("top1", ascending=False, kind="stable")
        return self._distinct(most_accurate_first).sort_index().reset_index(drop=True)

    @property
    def whole_space(self) -> SearchSpace:
        """The space with all options, also the pruned ones: it parses every architecture of the table."""
        from search_spaces import from_specification

        return from_specification({**self.space, "restriction": {}})

    @property
    def is_tested(self) -> bool:
        """Whether the accuracies of the final step are on the test images."""
        return bool((self.evaluated["part"] == "test").all())

    @property
    def best(self) -> dict[str, Any]:
        """The most accurate network of the front: `architecture`, `top1`, `macs`, `params`, `latency_ms`."""
        front = json_rows(self.front)
        return max(front, key=lambda row: row["top1"]) if front else {}

    def most_accurate(self, count: int) -> list[str]:
        """Return at most `count` architectures of the final step within the budget, the most accurate first.

        At equal accuracy the cheaper architecture comes first. Of isomorphic architectures only the first counts: they
        are one network in stand-alone training.
        """
        final = self.evaluated[eligible(self.evaluated)]
        order = final.sort_values(["top1", self.cost, "architecture"], ascending=[False, True, True])
        return list(self._distinct(order)["architecture"][:count])

    def _distinct(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the rows without those whose network is in an earlier row.

        Isomorphic networks have equal costs, so only rows of equal costs are compared.
        """
        network = rows["architecture"].copy()
        same_costs = rows.duplicated(["macs", "params"], keep=False)
        if network[same_costs].nunique() > 1:
            space = self.whole_space
            network[same_costs] = [str(space.canonical(space.parse(text))) for text in network[same_costs]]
        return rows[~network.duplicated()]

    @property
    def standalone(self) -> pd.DataFrame:
        """The rows of the final step whose networks were trained stand-alone, one row a network."""
        return standalone_rows(self.evaluated, read_networks(RunFolder(self.run)))

    @property
    def correlations(self) -> dict[str, float] | None:
        """How one-shot accuracy ranks the networks of `standalone` (`fit_result.correlations`)."""
        return None if self.is_tested else correlations(self.standalone)

    def write(self) -> None:
        """Write `front.csv`, `best.json` and `outcome.json` into the run folder."""
        folder = RunFolder(self.run)
        folder.write("front.csv", self.front.to_csv(index=False).encode())
        folder.write_json("best.json", self.best)
        fields = ("method", "space", "final", "cost", "weights", "network_weights")
        folder.write_json(_FILE, {field: getattr(self, field) for field in fields})

    def json_value(self) -> dict[str, Any]:
        """Return `run`, `method`, `space`, `best` and `front` as plain JSON."""
        names = {"run": self.run, "method": self.method, "space": self.space["name"]}
        return {**names, "best": self.best, "front": json_rows(self.front)}


def is_finished(folder: RunFolder) -> bool:
    """Return whether a run folder holds the whole outcome of a finished run."""
    return folder.is_whole(_FILE)


def load(run: str | Path) -> Outcome:
    """Return the outcome of a finished run.

    Raises:
        UserError: if the folder holds no run, or a run that is not finished.
    """
    folder = RunFolder(run)
    check_is_run(folder)
    if not folder.exists(_FILE):
        raise UserError(f"The run in {folder.uri} is not finished: run its recipe again to go on with it.")
    return Outcome(run=folder.uri, table=EvaluationTable(folder).read(), **folder.read_json(_FILE))


def load_all(runs: Sequence[str]) -> list[Outcome]:
    """Return the outcomes of finished runs.

    Raises:
        UserError: if folders are not folders of finished runs. It has a sentence for each.
    """
    problems, outcomes = Problems(), []
    for run in runs:
        with problems.collect():
            outcomes.append(load(run))
    problems.check()
    return outcomes


def json_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table's rows as plain JSON, with null for missing numbers."""
    rows: list[dict[str, Any]] = json.loads(table.to_json(orient="records", double_precision=15))
    return rows
