"""The recipe: one YAML file that decides a run.

An example:

    method: {name: pad-nas, stages: 4}
    space: {name: proxylessnas, width: 0.25, resolution: 32}
    data: {name: digits}
    budget: {macs: {min: 1M, max: 3M}, params: {max: 100k}}
    scale: {train: {workers: 2, cpus: 1}, evaluate: {actors: 2, threads: 1}}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from raynas.data import DataSettings, PreparedData
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
from search_spaces.errors import Problems, UserError, format_count
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
"""The keys that cannot change the results of a run. They may change between two attempts at the run."""


def _as_mapping(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _check_name(value: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(value.get("name"), str):
        raise ValueError("it needs a name")
    return value


Named = Annotated[dict[str, Any], BeforeValidator(_as_mapping), AfterValidator(_check_name)]


class Recipe(Settings):
    """The settings of one run.

    Attributes:
        method: name and settings of the method. The method checks its settings.
        space: name and settings of the search space. The space checks its settings.
        data: the images.
        budget: limits on costs.
        latency: the latency table. Without it, costs have no latency.
        training: the training of the supernet.
        search: settings of the searcher. The method checks them.
        evaluation: the measurement of one-shot accuracy.
        fit: stand-alone training of the chosen networks.
        scale: processes and their resources.
        seed: the seed of all random draws.
        notes: lines to show before the run, such as the values that a small recipe has shrunk.
        track: other places for metrics: `mlflow`, `wandb`.
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
    def _check_batch_size(self) -> Recipe:
        training, workers = self.training, self.scale.train.workers
        if training.batch_size < workers * training.accumulate:
            raise ValueError(
                f"training.batch_size = {training.batch_size} is less than {format_count(workers, 'worker')} times "
                f"{format_count(training.accumulate, 'micro-batch')}; raise it, or lower scale.train.workers or "
                "training.accumulate"
            )
        return self

    @classmethod
    def read(cls, source: str | Path | Mapping[str, Any], changes: Iterable[str] = ()) -> Recipe:
        """Read and check a recipe.

        Args:
            source: a file, the name of a recipe that ships with raynas, or a mapping.
            changes: changes to the recipe, in the form `a.b=c`.

        Raises:
            UserError: if there is no such recipe, or if keys or values are not valid; it names all of them.
        """
        content = deepcopy(dict(source)) if isinstance(source, Mapping) else _read_source(str(source))
        problems = Problems()
        for change in changes:
            with problems.collect():
                _apply_change(content, change)
        with problems.collect():
            recipe = validate(cls, content, "the recipe")
        problems.check()
        try:
            recipe.identity()
        except (ValueError, RecursionError) as error:  # half of a surrogate pair, or a list that contains itself
            raise UserError(f"The recipe has a value that JSON cannot hold: {error}. Change it.") from error
        return recipe

    def json_value(self) -> dict[str, Any]:
        """Return the recipe as plain JSON, with the keys of `fit` that the recipe chooses (`check_chosen`)."""
        return {**super().json_value(), "fit": self.fit.model_dump(mode="json", exclude_unset=True)}

    def identity(self) -> str:
        """Return a short hash of all keys that decide the results."""
        return digest(_without_free_keys(self.json_value()))


def shipped_recipes() -> list[str]:
    """Return the names of the recipes that ship with raynas."""
    folder = resources.files("raynas.recipe") / "shipped"
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def _read_source(source: str) -> dict[str, Any]:
    if source in shipped_recipes():
        text = (resources.files("raynas.recipe") / "shipped" / f"{source}.yaml").read_text(encoding="utf-8")
    elif (file := _read_file(source)) is not None:
        text = file.decode(errors="replace")
    else:
        raise UserError(
            f"There is no recipe {source!r}. Use a file, or a recipe of raynas: {', '.join(shipped_recipes())}."
        )
    content = read_yaml(text, f"the recipe {source}")
    if not isinstance(content, dict):
        raise UserError(f"The recipe {source} is not a mapping of keys to values. It needs at least method and space.")
    return content


def _read_file(path: str) -> bytes | None:
    """Return the bytes of a file; None if there is no file."""
    try:
        return Path(path).read_bytes() if Path(path).is_file() else None
    except OSError as error:
        raise UserError(f"The recipe {path} cannot be read: {error.strerror}.") from error


def read_run_recipe(folder: RunFolder) -> dict[str, Any]:
    """Return the recipe of a run folder as plain JSON.

    Raises:
        DamagedFile: if the file is not a complete recipe.
    """
    text = folder.read("recipe.yaml").decode(errors="replace")
    try:
        content = read_yaml(text, f"recipe.yaml in {folder.uri}")
    except UserError as error:
        raise DamagedFile(str(error)) from error
    if not isinstance(content, dict) or not Recipe.model_fields.keys() <= content.keys():
        raise DamagedFile(f"recipe.yaml in {folder.uri} cannot be read: it lacks keys of a recipe.")
    return content


def read_run_data(folder: RunFolder) -> PreparedData:
    """Return the images of a run folder.

    Raises:
        DamagedFile: if the file is damaged, or of another version of raynas.
    """
    try:
        return PreparedData.model_validate(folder.read_json("versions.json")["data"])
    except (KeyError, ValidationError) as error:
        raise DamagedFile(f"versions.json in {folder.uri} is damaged or of another version: run it again.") from error


def _apply_change(content: dict[str, Any], change: str) -> None:
    path, equals, value = change.partition("=")
    if not equals or not path:
        raise UserError(f"--set takes PATH=VALUE, such as scale.evaluate.actors=2, not {change!r}.")
    *parents, last = path.split(".")
    for parent in parents:
        value_at_parent = _as_mapping(content.get(parent))
        content[parent] = dict(value_at_parent) if isinstance(value_at_parent, dict) else {}
        content = content[parent]
    content[last] = read_yaml(value, f"the value of {path}")


def _without_free_keys(content: Mapping[str, Any], under: str = "") -> dict[str, Any]:
    return {
        key: _without_free_keys(value, f"{under}{key}.") if isinstance(value, Mapping) else value
        for key, value in content.items()
        if f"{under}{key}" not in FREE_KEYS
    }
