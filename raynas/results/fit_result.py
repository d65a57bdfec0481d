"""What `raynas fit` left in a run folder: networks trained alone, beside their one-shot accuracy."""

from __future__ import annotations

from typing import Any

import pandas as pd

from raynas.storage.run_folder import RunFolder

_PREFIX, _SUFFIX = "fit-", ".json"
STANDALONE = {"standalone_top1": "top1", "standalone_top5": "top5"}
"""The evaluation table's columns of networks trained alone, and what each is of."""
_LEAST = 3
"""Fewer networks have no correlation worth the name."""


def networks(folder: RunFolder) -> list[dict[str, Any]]:
    """Every network that was trained alone in this folder, the most accurate first.

    `isomorphic` are the run's other architectures that are the same network; none where an older raynas trained it.
    """
    names = [name for name in folder.names() if name.startswith(_PREFIX) and name.endswith(_SUFFIX)]
    fitted = [{"name": name.removesuffix(_SUFFIX), "isomorphic": [], **folder.read_json(name)} for name in names]
    return sorted(fitted, key=lambda one: (-one["top1"], one["name"]))


def with_standalone(table: pd.DataFrame, fitted: list[dict[str, Any]]) -> pd.DataFrame:
    """The table with `standalone_top1` and `standalone_top5` in per cent, where a network of it was trained alone.

    Isomorphic architectures are one network. Of one that was trained in several ways it is the most accurate that
    counts.

    Args:
        fitted: the networks, the most accurate first.
    """
    if not fitted:
        return table
    best = _by_text(fitted)
    columns = {}
    for column, of in STANDALONE.items():
        measured = table["architecture"].map({text: one[of] for text, one in best.items()})
        columns[column] = measured.combine_first(table[column]) if column in table else measured
    return table.assign(**columns)


def trained_alone(table: pd.DataFrame, fitted: list[dict[str, Any]]) -> pd.DataFrame:
    """The rows of networks that were trained alone, one a network: of isomorphic ones that of best one-shot accuracy.

    Args:
        fitted: the networks, the most accurate first.
    """
    if "standalone_top1" not in table:
        return table[:0]
    rows = table.dropna(subset=["standalone_top1"]).drop_duplicates("architecture")
    rows = rows.sort_values("top1", ascending=False, kind="stable")
    names = {text: one["architecture"] for text, one in _by_text(fitted).items()}
    network = rows["architecture"].map(lambda text: names.get(text, text))
    distinct: pd.DataFrame = rows[~network.duplicated()].sort_index()
    return distinct


def _by_text(fitted: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The most accurate network of every text."""
    return {text: one for one in reversed(fitted) for text in (one["architecture"], *one["isomorphic"])}


def correlations(networks: pd.DataFrame) -> dict[str, float] | None:
    """How one-shot accuracy ranks networks that were also trained alone; None for fewer than three.

    Args:
        networks: the rows that `trained_alone` gives.

    Returns:
        `networks`, how many there are; `kendall_tau`, `spearman_rho` and `pearson_r`, not a number where either
        accuracy is the same for all.
    """
    if len(networks) < _LEAST:
        return None
    one_shot, alone = networks["top1"], networks["standalone_top1"]
    return {
        "networks": len(networks),
        "kendall_tau": float(one_shot.corr(alone, method="kendall")),
        "spearman_rho": float(one_shot.corr(alone, method="spearman")),
        "pearson_r": float(one_shot.corr(alone, method="pearson")),
    }
