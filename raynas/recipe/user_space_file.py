"""A recipe whose space is a user's own file.

Its path is relative to the working directory, as every path in a recipe is. The recipe that runs, and that the run
folder keeps, has the space's own name, the path, which decides nothing, and the hash of what the file held. A copy of
the file lies beside it, so that the run can go on where the file is not.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from raynas.recipe.recipe import Recipe, kept_recipe
from raynas.recipe.settings import Settings
from raynas.storage.run_folder import RunFolder
from search_spaces.errors import UserError
from search_spaces.registry import is_space_file
from search_spaces.validation import validate

if TYPE_CHECKING:
    from search_spaces import SearchSpace
    from search_spaces.user_space import SpaceFile

COPIES = {".yaml": "space.yaml", ".py": "space.py"}
"""What the copy in a run folder is called, by the file's suffix."""


class KeptFile(Settings):
    """What a kept recipe says of the file of its space."""

    path: str
    sha256: str


def file_of(recipe: Recipe, run: str | Path | None) -> SpaceFile | None:
    """The file of the recipe's space; None if the space is an installed one.

    Args:
        run: the run folder, whose copy serves a kept recipe, and any where the file is no longer at its path.

    Raises:
        UserError: if there is no such file, or it is not what the run began with.
    """
    if "file" not in recipe.space and not is_space_file(recipe.space["name"]):
        return None
    from search_spaces.user_space import SpaceFile

    kept = _kept(recipe, run)
    if kept is None:
        return SpaceFile.read(recipe.space["name"])
    suffix = ".py" if kept.path.endswith(".py") else ".yaml"
    folder = None if run is None else RunFolder(run)
    if folder is not None and folder.exists(COPIES[suffix]):
        file = SpaceFile(suffix, folder.read(COPIES[suffix]).decode(errors="replace"), f"{folder.uri}/{COPIES[suffix]}")
    else:
        file = SpaceFile.read(kept.path)
    if file.sha256 != kept.sha256:
        raise UserError(f"{file.shown} is not what the run began with: change it back, or begin another run.")
    return file


def _kept(recipe: Recipe, run: str | Path | None) -> KeptFile | None:
    if "file" in recipe.space:
        return validate(KeptFile, recipe.space["file"], "space.file of the recipe")
    path = recipe.space["name"]
    if run is None or os.path.exists(os.path.expanduser(path)) or not RunFolder(run).exists("study.json"):
        return None
    said = kept_recipe(RunFolder(run))["space"].get("file", {})
    return KeptFile(**said) if said.get("path") == path else None


def settled(recipe: Recipe, space: SearchSpace, file: SpaceFile) -> Recipe:
    """The recipe as it runs and is kept."""
    path = recipe.space["file"]["path"] if "file" in recipe.space else recipe.space["name"]
    kept = KeptFile(path=path, sha256=file.sha256).json_value()
    return recipe.changed(space={**recipe.space, "name": space.name, "file": kept})


def write_copy(folder: RunFolder, space: SearchSpace) -> None:
    """Keep the file of a space in the run folder, if the space has one."""
    if space.file is not None:
        folder.write(COPIES[space.file["suffix"]], space.file["text"].encode())
