"""A finished run with stand-alone networks, which several tests read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import raynas
from raynas.networks.fit import fit_run
from raynas.storage.progress import Quiet

SMALL: dict[str, Any] = {
    "method": {"name": "spos"},
    "space": {"name": "nas-bench-macro", "width": 0.25, "resolution": 16},
    "data": {"name": "digits", "fraction": 0.5},
    "budget": {"macs": {"max": "300k"}},
    "training": {"epochs": 2, "batch_size": 64, "learning_rate": 0.1},
    "search": {"population": 8, "generations": 2},
    "evaluation": {"recalibration_images": 64, "recalibration_batch_size": 64},
    "fit": {"epochs": 2, "batch_size": 64, "learning_rate": 0.1, "ema": 0.9, "stochastic_depth": 0.1},
    "scale": {"evaluate": {"actors": 1}},
}


@pytest.fixture(scope="session")
def standalone_run(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on the digits. Three of its networks were trained stand-alone."""
    out = tmp_path_factory.mktemp("runs") / "small"
    raynas.run(SMALL, out)
    fit_run(str(out), [], [], Quiet(), best=3)
    return out
