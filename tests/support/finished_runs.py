"""Runs of the methods that several tests read. A test session carries each run out once.

The commands of the pages and the runs with faults have the same recipes. A command in a copy of a finished run reads
the run back.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ray

from raynas.networks.fit import fit_run
from raynas.recipe.recipe import Recipe
from raynas.storage.progress import Quiet
from raynas.testing import check_method
from tests.faults import recipes, runs

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
RECIPES: dict[str, tuple[str | dict[str, Any], list[str]]] = {
    "spos": (SMALL, []),
    "spos-seed-1": (SMALL, ["seed=1"]),
    **{name: (recipe or runs.RECIPE, changes) for name, (recipe, changes) in recipes.RECIPES.items()},
}
"""By name: a recipe, or the name of a shipped recipe; and the changes to the recipe."""


def finish_run(name: str, folder: Path) -> None:
    """Carry out a run in `run` of a folder, and check the contract of its method.

    Three networks of the runs of SPOS are trained stand-alone. The file `ray_logs` names the folder of Ray's log files.
    """
    check_method(Recipe.read(*RECIPES[name]).json_value(), folder)
    if name.startswith("spos"):
        fit_run(str(folder / "run"), [], [], Quiet(), best=3)
    node = ray._private.worker._global_node
    assert node is not None
    (folder / "ray_logs").write_text(node.get_logs_dir_path())
