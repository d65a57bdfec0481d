"""Recipes whose search space is a file of the user.

The path of the file is relative to the working directory, like every path in a recipe. The recipe in the run folder
holds the name of the space, the path and a hash of the file's content. The path does not decide the results. The run
folder also holds a copy of the file, so that the run can continue without the original.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from raynas.recipe.recipe import Recipe, read_run_recipe
from raynas.recipe.settings import Settings
from raynas.storage.run_folder import RunFolder
from search_spaces.errors import UserError
from search_spaces.registry import is_space_file
from search_spaces.validation import validate

if TYPE_CHECKING:
    from search_spaces import SearchSpace
    from search_spaces.user_space import SpaceFile

COPY_NAMES = {".yaml": "space.yaml", ".py": "space.py"}
"""The name of the copy in the run folder, by the suffix of the file."""


class SpaceFileRecord(Settings):
    """The path and the hash of a space file, as the recipe of a run holds them."""

    path: str
    sha256: str


def read_space_file(recipe: Recipe, run: str | Path | None) -> SpaceFile | None:
    """Read the file of the recipe's space; None if the space is an installed one.

    Args:
        run: the run folder. Its copy is used if the recipe comes from a run, or if the file is no longer at its path.

    Raises:
        UserError: if there is no such file, or if the file is not what the run began with.
    """
    if "file" not in recipe.space and not is_space_file(recipe.space["name"]):
        return None
    from search_spaces.user_space import SpaceFile

    record = _file_record(recipe, run)
    if record is None:
        return SpaceFile.read(recipe.space["name"])
    suffix = ".py" if record.path.endswith(".py") else ".yaml"
    folder = None if run is None else RunFolder(run)
    copy = COPY_NAMES[suffix]
    if folder is not None and folder.exists(copy):
        file = SpaceFile(suffix, folder.read(copy).decode(errors="replace"), f"{folder.uri}/{copy}")
    else:
        file = SpaceFile.read(record.path)
    if file.sha256 != record.sha256:
        raise UserError(f"{file.shown} is not what the run began with: change it back, or begin another run.")
    return file


def _file_record(recipe: Recipe, run: str | Path | None) -> SpaceFileRecord | None:
    if "file" in recipe.space:
        return validate(SpaceFileRecord, recipe.space["file"], "space.file of the recipe")
    path = recipe.space["name"]
    if run is None or os.path.exists(os.path.expanduser(path)) or not RunFolder(run).exists("study.json"):
        return None
    record = read_run_recipe(RunFolder(run))["space"].get("file", {})
    return SpaceFileRecord(**record) if record.get("path") == path else None


def with_space_file(recipe: Recipe, space: SearchSpace, file: SpaceFile) -> Recipe:
    """Return the recipe with the name of the space, and the path and the hash of its file."""
    path = recipe.space["file"]["path"] if "file" in recipe.space else recipe.space["name"]
    record = SpaceFileRecord(path=path, sha256=file.sha256).json_value()
    return recipe.changed(space={**recipe.space, "name": space.name, "file": record})


def write_space_file(folder: RunFolder, space: SearchSpace) -> None:
    """Write a copy of the space file to the run folder, if the space has a file."""
    if space.file is not None:
        folder.write(COPY_NAMES[space.file["suffix"]], space.file["text"].encode())
