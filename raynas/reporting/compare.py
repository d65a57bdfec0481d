"""`raynas compare`: runs side by side, each as one row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from raynas.recipe.recipe import kept_recipe
from raynas.results.outcome import Outcome, load
from raynas.results.pareto import eligible, pareto_front
from raynas.storage.run_folder import RunFolder
from raynas.storage.step_records import records
from search_spaces.budget.budget import Budget
from search_spaces.errors import UserError
from search_spaces.validation import validate

COSTS = ("macs", "params", "latency_ms")


def compare(runs: Sequence[str], limits: Mapping[str, float] | None = None) -> pd.DataFrame:
    """One row a finished run.

    Columns: `run`, `method`, `space`, `seed`; `evaluations`, of `architectures` different ones; `top1`, `macs`,
    `params` and `latency_ms` of the most accurate architecture of the final step within the limits;
    `standalone_top1`, the best of those networks that were trained alone; `hypervolume`, of the front in accuracy and
    cost, in percent times the share of the reference point's cost, which is a tenth above the highest of any run;
    `search_seconds`, `worker_seconds` and `gpu_seconds` of all steps but the training of single networks; and
    `kendall_tau` between one-shot and stand-alone accuracy, where three networks or more were trained alone.

    Args:
        limits: at most so much of a resource (`macs`, `params`, `latency_ms`) may an architecture cost.

    Raises:
        UserError: if a folder holds no finished run, or the runs' fronts are of different costs.
    """
    outcomes = [load(run) for run in runs]
    costs = sorted({one.cost for one in outcomes})
    if len(costs) > 1:
        raise UserError(f"The fronts of these runs are of {' and '.join(costs)}: compare those of one cost.")
    finals = [_final(one, limits or {}) for one in outcomes]
    highest = 1.1 * max((float(final[costs[0]].max()) for final in finals if len(final)), default=1.0)
    rows = pd.DataFrame([_row(*pair, highest) for pair in zip(outcomes, finals, strict=True)])
    return rows.astype({"macs": "Int64", "params": "Int64"})  # counts, with gaps


def readable(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """The columns and rows of `compare` for people, without what no run has."""
    formats = {
        "run": ("run", "{}"),
        "method": ("method", "{}"),
        "space": ("space", "{}"),
        "seed": ("seed", "{}"),
        "evaluations": ("evaluations", "{:,}"),
        "top1": ("top-1 %", "{:.2f}"),
        "standalone_top1": ("alone %", "{:.2f}"),
        "macs": ("M multiply-adds", "{:,.3f}"),
        "params": ("M parameters", "{:,.3f}"),
        "latency_ms": ("ms", "{:.3f}"),
        "hypervolume": ("hypervolume", "{:.2f}"),
        "search_seconds": ("search s", "{:,.0f}"),
        "worker_seconds": ("worker s", "{:,.0f}"),
        "gpu_seconds": ("GPU s", "{:,.0f}"),
        "kendall_tau": ("tau", "{:.2f}"),
    }
    without_gpus = not table["gpu_seconds"].any()
    told = [column for column in formats if table[column].notna().any()]
    shown = [column for column in told if column != "gpu_seconds" or not without_gpus]
    scale = {"macs": 1e-6, "params": 1e-6}
    rows = [
        [
            ""
            if pd.isna(row[column])
            else formats[column][1].format(row[column] * scale[column] if column in scale else row[column])
            for column in shown
        ]
        for row in table.to_dict("records")
    ]
    return [formats[column][0] for column in shown], rows


def limits_of(**given: str | None) -> dict[str, float]:
    """Limits by resource, of amounts as budgets write them (`50M`).

    Raises:
        UserError: if one is no amount.
    """
    limits = {key: {"max": text} for key, text in given.items() if text is not None}
    return {
        key: limit.max for key, limit in validate(Budget, limits, "the limits").root.items() if limit.max is not None
    }


def _final(outcome: Outcome, limits: Mapping[str, float]) -> pd.DataFrame:
    final = outcome.evaluated[eligible(outcome.evaluated)]
    for resource, most in limits.items():
        if resource not in COSTS:
            raise UserError(f"A limit is one of {', '.join(COSTS)}, not of {resource!r}.")
        final = final[final[resource] <= most]
    return final.drop_duplicates("architecture")


def _row(outcome: Outcome, final: pd.DataFrame, highest: float) -> dict[str, Any]:
    folder = RunFolder(outcome.run)
    front = pareto_front(final, outcome.cost)
    searching = [step for step in records(folder) if not step["kind"].startswith("standalone-")]
    row: dict[str, Any] = {
        "run": outcome.run,
        "method": outcome.method,
        "space": outcome.space["name"],
        "seed": kept_recipe(folder)["seed"],
        "evaluations": len(outcome.table),
        "architectures": outcome.table["architecture"].nunique(),
    }
    best = front.iloc[front["top1"].argmax()] if len(front) else None
    for column in ("top1", "macs", "params", "latency_ms"):
        row[column] = None if best is None or pd.isna(best[column]) else best[column].item()
    alone = final["standalone_top1"].max() if "standalone_top1" in final else np.nan
    row["standalone_top1"] = None if pd.isna(alone) else float(alone)
    row["hypervolume"] = hypervolume(front["top1"].to_numpy(float), front[outcome.cost].to_numpy(float) / highest)
    for column, key in (
        ("search_seconds", "seconds"),
        ("worker_seconds", "worker_seconds"),
        ("gpu_seconds", "gpu_seconds"),
    ):
        row[column] = sum(step[key] for step in searching)
    correlations = outcome.correlations
    row["kendall_tau"] = None if correlations is None else correlations["kendall_tau"]
    return row


def hypervolume(top1: np.ndarray[Any, np.dtype[np.float64]], cost: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    """The area that architectures dominate, from no accuracy at a cost of 1: in per cent times cost.

    Args:
        top1: accuracies in per cent, shape (n,).
        cost: shares of the cost of the reference point, shape (n,).
    """
    from pymoo.indicators.hv import HV

    if not len(top1):
        return 0.0
    area = HV(ref_point=np.array([0.0, 1.0]))(np.column_stack([-top1, cost]))
    return float(area)
