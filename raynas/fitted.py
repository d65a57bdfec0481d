"""What `raynas fit` left in a run folder: networks trained alone, beside their one-shot accuracy."""

from __future__ import annotations

from typing import Any

import pandas as pd

from raynas.run_folder import RunFolder

_PREFIX, _SUFFIX = "fit-", ".json"
STANDALONE = {"standalone_top1": "top1", "standalone_top5": "top5"}
"""The evaluation table's columns of networks trained alone, and what each is of."""
_LEAST = 3
"""Fewer networks have no correlation worth the name."""


def networks(folder: RunFolder) -> list[dict[str, Any]]:
    """Every network that was trained alone in this folder, the most accurate first."""
    names = [name for name in folder.names() if name.startswith(_PREFIX) and name.endswith(_SUFFIX)]
    fitted = [{"name": name.removesuffix(_SUFFIX), **folder.read_json(name)} for name in names]
    return sorted(fitted, key=lambda one: (-one["top1"], one["name"]))


def with_standalone(table: pd.DataFrame, fitted: list[dict[str, Any]]) -> pd.DataFrame:
    """The table with `standalone_top1` and `standalone_top5` in per cent, where a network of it was trained alone.

    Of one that was trained in several ways it is the most accurate that counts.
    """
    if not fitted:
        return table
    best = pd.DataFrame(fitted).drop_duplicates("architecture").set_index("architecture")
    columns = {
        column: table["architecture"].map(best[of]).combine_first(table[column])
        if column in table
        else table["architecture"].map(best[of])
        for column, of in STANDALONE.items()
    }
    return table.assign(**columns)


def correlations(table: pd.DataFrame) -> dict[str, float] | None:
    """How one-shot accuracy ranks the networks that were also trained alone; None for fewer than three.

    Returns:
        `networks`, how many there are; `kendall_tau`, `spearman_rho` and `pearson_r`, not a number where either
        accuracy is the same for all.
    """
    if "standalone_top1" not in table:
        return None
    both = table.dropna(subset=["standalone_top1"]).drop_duplicates("architecture")
    if len(both) < _LEAST:
        return None
    one_shot, alone = both["top1"], both["standalone_top1"]
    return {
        "networks": len(both),
        "kendall_tau": float(one_shot.corr(alone, method="kendall")),
        "spearman_rho": float(one_shot.corr(alone, method="spearman")),
        "pearson_r": float(one_shot.corr(alone, method="pearson")),
    }
