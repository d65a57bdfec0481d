"""Pareto fronts of evaluation tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray


def non_domination_ranks(top1: ArrayLike, cost: ArrayLike) -> NDArray[np.int64]:
    """Return the non-domination rank of each architecture, shape (n,). The Pareto front has rank 1.

    One architecture dominates another if it is no worse in accuracy and cost, and better in one of them.

    Args:
        top1: accuracies in per cent, shape (n,).
        cost: costs, shape (n,).
    """
    from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

    objectives = np.column_stack([-np.asarray(top1, dtype=float), np.asarray(cost, dtype=float)])
    _, ranks = NonDominatedSorting().do(objectives, return_rank=True)
    return np.asarray(ranks, dtype=np.int64) + 1


def eligible(table: pd.DataFrame) -> pd.Series[bool]:
    """Return a mask of the rows whose architectures meet the budget and have figures."""
    return table["feasible"].astype(bool) & table["top1"].notna()


def pareto_front(table: pd.DataFrame, cost: str) -> pd.DataFrame:
    """Return the Pareto front of a table in `top1` and `cost`: distinct architectures, the cheapest first."""
    distinct = table[eligible(table)].drop_duplicates("architecture")
    if distinct.empty:
        return distinct
    on_front = non_domination_ranks(distinct["top1"], distinct[cost]) == 1
    front: pd.DataFrame = distinct[on_front].sort_values([cost, "architecture"], ignore_index=True)
    return front
