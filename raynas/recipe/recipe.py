"""The recipe: everything that decides a run, as one YAML file that a person can read and change.

method: {name: pad-nas, stages: 4}
space: {name: proxylessnas, width: 0.25, resolution: 32}
data: {name: digits}
budget: {macs: {max: 3M}}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    model_validator,
)

from raynas.data import DataSettings
from raynas.recipe.settings import (
    EvaluationSettings,
    FitSettings,
    LatencySettings,
    ScaleSettings,
    Settings,
    Tracker,
    TrainingSettings,
)
from raynas.storage.run_folder import DamagedFile, RunFolder, digest
from search_spaces.budget.budget import Budget
from search_spaces.errors import UserError
from search_spaces.validation import read_yaml, validate

FREE_KEYS = {
    "data.path",
    "fit",
    "latency.path",
    "notes",
    "scale.concurrent_trials",
    "scale.evaluate.actors",
    "scale.evaluate.cpus",
    "scale.evaluate.memory_gib",
    "scale.max_failures",
    "scale.train.cpus",
    "scale.train.memory_gib",
    "scale.wait_minutes",
    "space.file.path",
    "track",
    "training.checkpoint_minutes",
}
"""The keys that cannot change the results of a run. They may change between two attempts at it."""


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _has_name(value: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(value.get("name"), str):
        raise ValueError("needs a name")
    return value


Named = Annotated[dict[str, Any], BeforeValidator(_named), AfterValidator(_has_name)]


class Recipe(Settings):
    """One run. `method` and `space` hold a name and the settings that the method or the space itself checks.

    Attributes:
        notes: lines to show before the run, such as what a small recipe has shrunk.
        track: where else its metrics go: `mlflow`, `wandb`.
    """

    method: Named
    space: Named
    data: DataSettings = DataSettings()
    budget: Budget = Budget({})
    latency: LatencySettings | None = None
    training: TrainingSettings = TrainingSettings()
    search: dict[str, Any] = Field(default_factory=dict)
    evaluation: EvaluationSettings = EvaluationSettings()
    fit: FitSettings = FitSettings()
    scale: ScaleSettings = ScaleSettings()
    seed: int = Field(default=0, ge=0)
    notes: tuple[str, ...] = ()
    track: tuple[Tracker, ...] = ()

    @model_validator(mode="after")
    def _an_image_for_every_micro_batch(self) -> Recipe:
        for name, settings in (("training", self.training), ("fit", self.fit)):
            if settings.batch_size < self.scale.train.workers * settings.accumulate:
                raise ValueError(
                    f"{name}.batch_size = {settings.batch_size} is less than {self.scale.train.workers} workers times "
                    f"{settings.accumulate} micro-batches"
                )
        return self

    @classmethod
    def read(cls, source: str | Path | Mapping[str, Any], changes: Iterable[str] = ()) -> Recipe:
        """The recipe in a file, of a name that ships with raynas, or given as a mapping, with `a.b=c` changes.

        Raises:
            UserError: if there is no such recipe, or a key or a value in it is not one that a recipe has.
        """
        content = deepcopy(dict(source)) if isinstance(source, Mapping) else _load(str(source))
        for change in changes:
            _set(content, change)
        recipe = validate(cls, content, "the recipe")
        try:
            recipe.identity()
        except (ValueError, RecursionError) as error:  # half a character, or a list within itself
            raise UserError(f"The recipe holds what cannot be written down: {error}.") from error
        return recipe

    def identity(self) -> str:
        """A short hash of all that decides the results."""
        return digest(_decisive(self.json_value()))


def shipped() -> list[str]:
    """The names of the recipes that come with raynas."""
    folder = resources.files("raynas.recipe") / "shipped"
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def _load(source: str) -> dict[str, Any]:
    if source in shipped():
        text = (resources.files("raynas.recipe") / "shipped" / f"{source}.yaml").read_text(encoding="utf-8")
    elif (file := _content(source)) is not None:
        text = file.decode(errors="replace")
    else:
        raise UserError(
            f"There is no recipe {source!r}: give a file, or one that ships with raynas: {', '.join(shipped())}."
        )
    content = read_yaml(text, f"the recipe {source}")
    if not isinstance(content, dict):
        raise UserError(f"The recipe {source} is not a mapping of keys to values.")
    return content


def _content(path: str) -> bytes | None:
    """What a file holds; None where there is none."""
    try:
        return Path(path).read_bytes() if Path(path).is_file() else None
    except OSError as error:
        raise UserError(f"The recipe {path} cannot be read: {error.strerror}.") from error


def kept_recipe(folder: RunFolder) -> dict[str, Any]:
    """The recipe that a run folder keeps, as plain JSON.

    Raises:
        DamagedFile: if it is not what a run wrote.
    """
    text = folder.read("recipe.yaml").decode(errors="replace")
    try:
        content = read_yaml(text, f"recipe.yaml in {folder.uri}")
    except UserError as error:
        raise DamagedFile(str(error)) from error
    if not isinstance(content, dict) or not Recipe.model_fields.keys() <= content.keys():
        raise DamagedFile(f"recipe.yaml in {folder.uri} cannot be read: it does not hold all that a recipe has.")
    return content


def _set(content: dict[str, Any], change: str) -> None:
    path, equals, value = change.partition("=")
    if not equals or not path:
        raise UserError(f"--set takes PATH=VALUE, such as scale.evaluate.actors=2, not {change!r}.")
    *parents, last = path.split(".")
    for parent in parents:
        below = content.get(parent)
        if isinstance(below, str):
            below = {"name": below}
        content[parent] = dict(below) if isinstance(below, dict) else {}
        content = content[parent]
    content[last] = read_yaml(value, f"the value of {path}")


def _decisive(content: Mapping[str, Any], under: str = "") -> dict[str, Any]:
    return {
        key: _decisive(value, f"{under}{key}.") if isinstance(value, Mapping) else value
        for key, value in content.items()
        if f"{under}{key}" not in FREE_KEYS
    }
