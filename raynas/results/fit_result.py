"""Networks that were trained stand-alone: their figures in the run folder, beside their one-shot accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from raynas.storage.run_folder import RunFolder

_FOLDER, _SUFFIX = "standalone", ".json"
STANDALONE_COLUMNS = {
    "standalone_top1": "top1",
    "standalone_top5": "top5",
    "standalone_balanced_top1": "balanced_top1",
}
"""The columns of the evaluation table for stand-alone accuracy, and the figures that they hold."""
_LEAST_NETWORKS = 3
"""A correlation of fewer networks says nothing."""


@dataclass(frozen=True)
class StandaloneResult:
    """One network after stand-alone training.

    Attributes:
        top1, top5: on the test images, in per cent.
        loss: on the test images, in nats.
        latency_ms: by the run's latency table; None without a table.
        weights: the file of its weights, under their names in a supernet.
        confusion: `[class, answer, images]` for each answer that the test images of a class get
            (`class_accuracy.ClassAccuracy`).
    """

    architecture: str
    top1: float
    top5: float
    loss: float
    macs: int
    params: int
    latency_ms: float | None
    weights: str
    confusion: list[list[int]]


def write_network(folder: RunFolder, step: str, network: Mapping[str, Any]) -> None:
    """Write the figures of the network that a step trained."""
    folder.write_json(f"{_FOLDER}/{step}{_SUFFIX}", network)


def read_networks(folder: RunFolder) -> list[dict[str, Any]]:
    """Return the networks of a run folder, the most accurate first.

    Each has the fields of `StandaloneResult`, and: `name`, the step that trained it; `space`, `settings` and `seed`;
    `isomorphic`, the other architectures of the run that are the same network; `class_top1`, the accuracy of each
    class in per cent, and `balanced_top1`, their mean.
    """
    files = [name for name in folder.names(_FOLDER) if name.endswith(_SUFFIX)]
    networks = [{"name": name.removesuffix(_SUFFIX), **folder.read_json(f"{_FOLDER}/{name}")} for name in files]
    return sorted(networks, key=lambda network: (-network["top1"], network["name"]))


def with_standalone(table: pd.DataFrame, networks: list[dict[str, Any]]) -> pd.DataFrame:
    """Add the columns of stand-alone accuracy to a table, for every architecture whose network was trained.

    Isomorphic architectures are one network. If a network was trained several times, the best accuracy counts.

    Args:
        networks: as `read_networks` returns them, the most accurate first.
    """
    if not networks:
        return table
    best = _by_architecture(networks)
    columns = {}
    for column, figure in STANDALONE_COLUMNS.items():
        measured = table["architecture"].map({text: network[figure] for text, network in best.items()})
        columns[column] = measured.combine_first(table[column]) if column in table else measured
    return table.assign(**columns)


def standalone_rows(table: pd.DataFrame, networks: list[dict[str, Any]]) -> pd.DataFrame:
    """Return the rows whose networks were trained stand-alone, one row a network.

    Of isomorphic architectures the row with the best one-shot accuracy stays.

    Args:
        networks: as `read_networks` returns them, the most accurate first.
    """
    if "standalone_top1" not in table:
        return table[:0]
    rows = table.dropna(subset=["standalone_top1"]).drop_duplicates("architecture")
    rows = rows.sort_values("top1", ascending=False, kind="stable")
    trained = {text: network["architecture"] for text, network in _by_architecture(networks).items()}
    network = rows["architecture"].map(lambda text: trained.get(text, text))
    distinct: pd.DataFrame = rows[~network.duplicated()].sort_index()
    return distinct


def _by_architecture(networks: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the most accurate network of every architecture."""
    return {
        text: network for network in reversed(networks) for text in (network["architecture"], *network["isomorphic"])
    }


def correlations(rows: pd.DataFrame) -> dict[str, float] | None:
    """Compare one-shot with stand-alone accuracy.

    Args:
        rows: as `standalone_rows` returns them.

    Returns:
        `networks`, their number; `kendall_tau`, `spearman_rho` and `pearson_r`. None for fewer than three networks, or
        if all accuracies of one kind are equal.
    """
    if len(rows) < _LEAST_NETWORKS:
        return None
    one_shot, standalone = rows["top1"], rows["standalone_top1"]
    if one_shot.nunique() < 2 or standalone.nunique() < 2:
        return None
    return {
        "networks": len(rows),
        "kendall_tau": float(one_shot.corr(standalone, method="kendall")),
        "spearman_rho": float(one_shot.corr(standalone, method="spearman")),
        "pearson_r": float(one_shot.corr(standalone, method="pearson")),
    }
