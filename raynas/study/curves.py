"""Training curves for TensorBoard, under `metrics/` of the run folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from raynas.storage.run_folder import RunFolder


def write_curves(folder: RunFolder, step: str, history: Iterable[Mapping[str, Any]]) -> None:
    """Write each metric of each epoch; only a local run folder has curves, as TensorBoard's writer appends to files."""
    if not folder.is_local:
        return
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(Path(folder.uri) / "metrics" / step)) as writer:
        for row in history:
            for key in row.keys() - {"epoch"}:
                writer.add_scalar(key, row[key], row["epoch"])
