"""Opening a run: what a recipe names is looked up and checked, and the run folder says what it holds."""

from __future__ import annotations

import platform
import subprocess
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from raynas.interfaces.costs import LatencyEntries, costs_of
from raynas.recipe.recipe import FREE_KEYS, Recipe
from raynas.recipe.user_space_file import COPY_NAMES, read_space_file, with_space_file, write_space_file
from raynas.storage.difference import difference
from raynas.storage.run_folder import DamagedFile, RunFolder
from raynas.storage.step_records import step_names
from raynas.study.tracking import check_trackers_installed
from search_spaces.errors import UserError

if TYPE_CHECKING:
    from raynas.data import PreparedData
    from search_spaces import Costs, SearchSpace
    from search_spaces.user_space import SpaceFile

_BEFORE_STEPS = {
    *("lock.json", "log.jsonl", "processes", "recipe.yaml", "split.parquet", "study.json", "versions.json"),
    *COPY_NAMES.values(),
}
_PACKAGES = ("raynas", "ray", "torch", "torchvision", "pymoo", "numpy", "pandas", "scikit-learn")


@dataclass(frozen=True)
class Plan:
    """A recipe and what it names, looked up and checked: nothing has been written or trained yet.

    Attributes:
        recipe: as it was given; of a user's own space, with its name and the hash of its file.
        space: the search space, unrestricted, its classifier as wide as the data has classes.
        data: what is known of the images.
        latency: the rows of the latency table, plain JSON, where the recipe has one.
        costs: of the space's architectures.
    """

    recipe: Recipe
    space: SearchSpace
    data: PreparedData
    latency: LatencyEntries | None
    costs: Costs


def plan(recipe: Recipe, run: str | Path | None = None) -> Plan:
    """Look up what a recipe names, and settle that an architecture can meet its budget.

    Args:
        run: the folder that it will run in, or has run in, where one is given.

    Raises:
        UserError: for all that can be wrong with the latency table, the space, the data, the budget or the fit.
    """
    from raynas.training.standalone_settings import check_standalone_settings

    check_trackers_installed(recipe.track)
    latency = _latency_entries(recipe)
    file = read_space_file(recipe, run)
    space, data = _space_and_data(recipe, file)
    if file is not None:
        recipe = with_space_file(recipe, space, file)
    check_standalone_settings(space, recipe.fit)
    costs = costs_of(space, latency)
    recipe.budget.check(costs)
    return Plan(recipe, space, data, latency, costs)


def _space_and_data(recipe: Recipe, file: SpaceFile | None) -> tuple[SearchSpace, PreparedData]:
    from raynas.data import prepare
    from search_spaces import load

    settings = {key: value for key, value in recipe.space.items() if key not in ("name", "file")}
    if "num_classes" in settings:
        raise UserError("The number of classes follows from the data: leave space.num_classes out.")
    made = partial(load, recipe.space["name"]) if file is None else file.space
    data = prepare(recipe.data, made(**settings).resolution, recipe.seed)
    space = made(**settings, num_classes=len(data.classes))
    if space.num_classes != len(data.classes):
        raise UserError(
            f"{space.name} has {space.num_classes} classes whatever it is asked for, and the data has "
            f"{len(data.classes)}: it has to take the setting num_classes."
        )
    return space, data


def _latency_entries(recipe: Recipe) -> LatencyEntries | None:
    from search_spaces import LatencyTable

    if recipe.latency is None:
        return None
    return tuple(LatencyTable.read(recipe.latency.path, recipe.latency.table).entries_ms.items())


def default_folder(recipe: Recipe) -> Path:
    """Where a run goes that is given no folder: the same recipe always has the same."""
    return Path("runs") / f"{recipe.method['name']}-{recipe.space['name']}-{recipe.identity()[:6]}"


def check_run_folder(folder: RunFolder) -> None:
    """See that a folder is empty, or a run's, before anything is written into it.

    Raises:
        UserError: if it is neither.
    """
    found = {name for name in folder.names() if not name.startswith(".")}
    is_run = "study.json" in found or found <= _BEFORE_STEPS
    if not is_run or (found & {"recipe.yaml", *COPY_NAMES.values()} and "versions.json" not in found):
        raise UserError(f"{folder.uri} is not empty and is not the folder of a run: give another with --out.")


def begin_run_folder(folder: RunFolder, plan: Plan) -> None:
    """Write down what runs here, or see that it is what ran here before, if that began a step.

    Raises:
        UserError: if the folder holds another recipe's run, or other data; it names the field that differs.
    """
    from raynas.data import open_images

    recipe, data = plan.recipe, plan.data
    if step_names(folder) and (before := _noted(folder)):
        for field, old, new in difference(before["recipe"], recipe.json_value(), FREE_KEYS):
            if field == "space.file.sha256":
                raise UserError(
                    f"{recipe.space['file']['path']} has changed since the run in {folder.uri} began: change it back, "
                    "or give another folder with --out."
                )
            raise UserError(
                f"{folder.uri} holds a run with {field} = {old!r}, not {new!r}: change it back, or give another folder "
                "with --out."
            )
        if before["data"]["fingerprint"] != data.fingerprint:
            raise UserError(f"{folder.uri} holds a run on other images than data.path has now.")
        _write_recipe(folder, before["recipe"])
        return
    folder.write_table("split.parquet", open_images(data).split)
    versions = {"packages": _versions(), "commit": _commit(), "data": data.model_dump(mode="json"), **_machine()}
    folder.write_json("versions.json", {**versions, "recipe": recipe.json_value()})
    write_space_file(folder, plan.space)
    _write_recipe(folder, recipe.json_value())


def _write_recipe(folder: RunFolder, recipe: dict[str, Any]) -> None:
    folder.write("recipe.yaml", yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True).encode())


def _noted(folder: RunFolder) -> dict[str, Any] | None:
    """What `versions.json` holds; nothing where it is damaged: each step sees for itself that it is asked the same."""
    try:
        noted = folder.read_json("versions.json")
    except (FileNotFoundError, DamagedFile):
        return None
    return noted if "recipe" in noted else None


def _commit() -> str | None:
    """The commit of the checkout that raynas runs from, if it runs from one."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return said.stdout.strip() or None


def _versions() -> dict[str, str]:
    return {package: metadata.version(package) for package in _PACKAGES}


def _machine() -> dict[str, Any]:
    import torch

    from raynas.runtime.process import cpu_model

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {"python": platform.python_version(), "cpu": cpu_model(), "gpus": gpus}
