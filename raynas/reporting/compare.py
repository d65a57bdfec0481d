"""`raynas compare`: one row for each run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel

from raynas.recipe.recipe import read_run_recipe
from raynas.reporting.units import COST_UNITS
from raynas.results.outcome import Outcome, load_all
from raynas.results.pareto import eligible, pareto_front
from raynas.storage.run_folder import RunFolder
from raynas.storage.step_records import records
from search_spaces.budget.budget import Budget
from search_spaces.errors import UserError
from search_spaces.validation import validate

_SECONDS = ("seconds", "worker_seconds", "gpu_seconds")


def compare(runs: Sequence[str], limits: Mapping[str, float] | None = None) -> pd.DataFrame:
    """Return one row for each finished run.

    Columns:
        run, method, space, seed: of the recipe.
        evaluations, architectures: the rows of the evaluation table, and the distinct architectures in them.
        top1, macs, params, latency_ms: of the most accurate architecture of the final step within the limits.
        standalone_top1: the best stand-alone accuracy of those networks.
        hypervolume: of the front in accuracy and cost, in per cent. The reference point has no accuracy and a cost that
            is a tenth above the highest cost of any run; costs are shares of that cost.
        search_seconds, worker_seconds, gpu_seconds: of all steps but stand-alone training.
        kendall_tau: between one-shot and stand-alone accuracy, if three or more networks were trained stand-alone.

    Args:
        limits: the most that an architecture may cost, by resource (`macs`, `params`, `latency_ms`).

    Raises:
        UserError: if a folder holds no finished run, or the runs have fronts of different costs.
    """
    outcomes = load_all(runs)
    costs = sorted({outcome.cost for outcome in outcomes})
    if len(costs) > 1:
        raise UserError(f"These runs have fronts of {' and '.join(costs)}: compare only runs with fronts of one cost.")
    finals = [_final_rows(outcome, limits or {}) for outcome in outcomes]
    reference_cost = 1.1 * max((float(final[costs[0]].max()) for final in finals if len(final)), default=1.0)
    pairs = zip(outcomes, finals, strict=True)
    rows = pd.DataFrame([_run_row(outcome, final, reference_cost) for outcome, final in pairs])
    return rows.astype({"macs": "Int64", "params": "Int64"})  # counts, with gaps


def format_table(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Return the headings and the rows of `compare` for people, without the columns that no run has."""
    formats = {
        "run": ("run", "{}"),
        "method": ("method", "{}"),
        "space": ("space", "{}"),
        "seed": ("seed", "{}"),
        "evaluations": ("evaluations", "{:,}"),
        "top1": ("top-1 %", "{:.2f}"),
        "standalone_top1": ("stand-alone %", "{:.2f}"),
        "macs": (COST_UNITS["macs"].name, "{:,.3f}"),
        "params": (COST_UNITS["params"].name, "{:,.3f}"),
        "latency_ms": (COST_UNITS["latency_ms"].name, "{:.3f}"),
        "hypervolume": ("hypervolume", "{:.2f}"),
        "search_seconds": ("search s", "{:,.0f}"),
        "worker_seconds": ("worker s", "{:,.0f}"),
        "gpu_seconds": ("GPU s", "{:,.0f}"),
        "kendall_tau": ("tau", "{:.2f}"),
    }
    columns = [column for column in formats if table[column].notna().any()]
    if not table["gpu_seconds"].any():
        columns.remove("gpu_seconds")

    def cell(column: str, value: Any) -> str:
        scaled = value * COST_UNITS[column].scale if column in COST_UNITS and not pd.isna(value) else value
        return "" if pd.isna(value) else formats[column][1].format(scaled)

    rows = [[cell(column, row[column]) for column in columns] for row in table.to_dict("records")]
    return [formats[column][0] for column in columns], rows


def parse_limits(**amounts: str | None) -> dict[str, float]:
    """Return limits by resource, from amounts as budgets write them (`50M`).

    Raises:
        UserError: if a text is no amount.
    """
    limits = {key: {"max": amount} for key, amount in amounts.items() if amount is not None}
    budget = validate(_Limits, {"budget": limits}, "the limits").budget
    return {key: limit.max for key, limit in budget.root.items() if limit.max is not None}


class _Limits(BaseModel):
    """The limits under the key that a recipe has for them, so that errors name it."""

    budget: Budget


def _final_rows(outcome: Outcome, limits: Mapping[str, float]) -> pd.DataFrame:
    """Return one row for each architecture of the final step within the budget and the limits."""
    final = outcome.evaluated[eligible(outcome.evaluated)]
    for resource, limit in limits.items():
        if resource not in COST_UNITS:
            raise UserError(f"A limit is of one of {', '.join(COST_UNITS)}, not of {resource!r}.")
        final = final[final[resource] <= limit]
    return final.drop_duplicates("architecture")


def _run_row(outcome: Outcome, final: pd.DataFrame, reference_cost: float) -> dict[str, Any]:
    folder = RunFolder(outcome.run)
    front = pareto_front(final, outcome.cost)
    search_steps = [step for step in records(folder) if not step["kind"].startswith("standalone-")]
    row: dict[str, Any] = {
        "run": outcome.run,
        "method": outcome.method,
        "space": outcome.space["name"],
        "seed": read_run_recipe(folder)["seed"],
        "evaluations": len(outcome.table),
        "architectures": outcome.table["architecture"].nunique(),
    }
    best = front.iloc[front["top1"].argmax()] if len(front) else None
    for column in ("top1", *COST_UNITS):
        row[column] = None if best is None or pd.isna(best[column]) else best[column].item()
    standalone = final["standalone_top1"].max() if "standalone_top1" in final else np.nan
    row["standalone_top1"] = None if pd.isna(standalone) else float(standalone)
    costs = front[outcome.cost].to_numpy(float) / reference_cost
    row["hypervolume"] = hypervolume(front["top1"].to_numpy(float), costs)
    for key in _SECONDS:
        row["search_seconds" if key == "seconds" else key] = sum(step[key] for step in search_steps)
    correlations = outcome.correlations
    row["kendall_tau"] = None if correlations is None else correlations["kendall_tau"]
    return row


def hypervolume(top1: np.ndarray[Any, np.dtype[np.float64]], cost: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    """Return the area that architectures dominate, in per cent; the reference point has no accuracy and a cost of 1.

    Args:
        top1: accuracies in per cent, shape (n,).
        cost: shares of the reference cost, shape (n,).
    """
    from pymoo.indicators.hv import HV

    if not len(top1):
        return 0.0
    area = HV(ref_point=np.array([0.0, 1.0]))(np.column_stack([-top1, cost]))
    return float(area)
