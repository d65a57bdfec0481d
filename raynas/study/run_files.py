"""The files that say what a run is: `recipe.yaml`, `versions.json`, `split.parquet`, the copy of a user's own space.

They are written when a run begins, and compared with the plan when it goes on.
"""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from raynas.recipe.recipe import FREE_KEYS, Recipe
from raynas.recipe.user_space_file import COPY_NAMES, write_space_file
from raynas.storage.difference import difference
from raynas.storage.run_folder import DamagedFile, RunFolder
from raynas.storage.step_records import step_names
from search_spaces.errors import UserError

if TYPE_CHECKING:
    from raynas.study.run_plan import Plan

_FILES_BEFORE_STEPS = {
    *("lock.json", "log.jsonl", "processes", "recipe.yaml", "split.parquet", "study.json", "versions.json"),
    *COPY_NAMES.values(),
}
_PACKAGES = ("raynas", "ray", "torch", "torchvision", "pymoo", "numpy", "pandas", "scikit-learn")


def default_folder(recipe: Recipe) -> Path:
    """Return the run folder of a recipe without `out`: always the same folder for the same recipe."""
    return Path("runs") / f"{recipe.method['name']}-{recipe.space['name']}-{recipe.identity()[:6]}"


def check_run_folder(folder: RunFolder) -> None:
    """Raises UserError if a folder is neither empty nor the folder of a run."""
    names = {name for name in folder.names() if not name.startswith(".")}
    is_run = "study.json" in names or names <= _FILES_BEFORE_STEPS
    if not is_run or (names & {"recipe.yaml", *COPY_NAMES.values()} and "versions.json" not in names):
        raise UserError(f"{folder.uri} is not empty and is not the folder of a run: give another with --out.")


def begin_run_folder(folder: RunFolder, plan: Plan) -> None:
    """Write the files of a new run. If the folder holds a run with steps, check that its recipe and data are equal.

    Raises:
        UserError: if the recipe or the data differs; the sentence names the field.
    """
    from raynas.data import open_images

    recipe, data = plan.recipe, plan.data
    if (before := _versions_of_begun_run(folder)) is not None:
        _check_same_run(folder, before, plan)
        _write_recipe(folder, before["recipe"])
        return
    folder.write_table("split.parquet", open_images(data).split)
    versions = {"packages": _versions(), "commit": _commit(), "data": data.model_dump(mode="json"), **_machine()}
    folder.write_json("versions.json", {**versions, "recipe": recipe.json_value()})
    write_space_file(folder, plan.space)
    _write_recipe(folder, recipe.json_value())


def recipe_of_begun_run(folder: RunFolder) -> dict[str, Any] | None:
    """Return the recipe with which a run with steps began, as plain JSON; None if there is no such run."""
    versions = _versions_of_begun_run(folder)
    return None if versions is None else dict(versions["recipe"])


def _check_same_run(folder: RunFolder, before: dict[str, Any], plan: Plan) -> None:
    recipe = plan.recipe
    for field, old, new in difference(before["recipe"], recipe.json_value(), FREE_KEYS):
        if field == "space.file.sha256":
            raise UserError(
                f"{recipe.space['file']['path']} has changed since the run in {folder.uri} began: change it back, or "
                "give another folder with --out."
            )
        raise UserError(
            f"{folder.uri} holds a run with {field} = {old!r}, not {new!r}: change it back, or give another folder "
            "with --out."
        )
    if before["data"]["fingerprint"] != plan.data.fingerprint:
        raise UserError(
            f"{folder.uri} holds a run on other images than data.path has now: put them back, or give another folder "
            "with --out."
        )


def _write_recipe(folder: RunFolder, recipe: dict[str, Any]) -> None:
    folder.write("recipe.yaml", yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True).encode())


def _versions_of_begun_run(folder: RunFolder) -> dict[str, Any] | None:
    """Return `versions.json` of a run with steps; None if it is damaged: then each step compares its own identity."""
    if not step_names(folder):
        return None
    try:
        versions = folder.read_json("versions.json")
    except (FileNotFoundError, DamagedFile):
        return None
    return versions if "recipe" in versions else None


def _commit() -> str | None:
    """Return the commit of raynas's checkout; None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return answer.stdout.strip() or None


def _versions() -> dict[str, str]:
    return {package: metadata.version(package) for package in _PACKAGES}


def _machine() -> dict[str, Any]:
    import torch

    from raynas.runtime.process import cpu_model

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {"python": platform.python_version(), "cpu": cpu_model(), "gpus": gpus}
