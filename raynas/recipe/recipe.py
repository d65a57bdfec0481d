"""The recipe: everything that decides a run, as one YAML file that a person can read and change.

method: {name: pad-nas, stages: 4}
space: {name: proxylessnas, width: 0.25, resolution: 32}
data: {name: digits}
budget: {macs: {max: 3M}}
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    ValidationInfo,
    field_validator,
    model_validator,
)

from raynas.data import DataSettings
from raynas.storage.run_folder import Damaged, RunFolder, digest
from raynas.study.tracking import Tracker
from search_spaces.budget.budget import Budget
from search_spaces.errors import UserError
from search_spaces.validation import absolute, read_yaml, validated

_FREE = {
    "data.path",
    "fit",
    "latency.path",
    "notes",
    "scale.evaluators",
    "scale.max_failures",
    "scale.memory_gib",
    "scale.wait_minutes",
    "space.file.path",
    "track",
    "training.checkpoint_minutes",
}
"""What cannot change the results of a run, and so may change between one attempt at it and the next."""


class Settings(BaseModel):
    """A part of a recipe: unknown keys are refused, values do not change, and numbers are finite, not true or false."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        kind = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and kind in (int, float, int | None, float | None):
            raise ValueError("it has to be a number, not true or false")
        return value

    def json_value(self) -> dict[str, Any]:
        """The settings as plain JSON: what processes are given and what a run folder holds."""
        return self.model_dump(mode="json")


def _defaults_if_true(value: Any) -> Any:
    return {} if value is True else None if value is False else value


class TrainingSettings(Settings):
    """How weights are trained, in a supernet or alone.

    Attributes:
        steps: how many steps an epoch has at most; without it, as many as the images fill.
        batch_size: images a step over all workers.
        learning_rate: the rate after warm-up, whatever the number of workers.
        optimizer: `rmsprop` as EfficientNet has it: squares forgotten by a tenth a step, and 0.001 below the root.
        schedule: how the rate falls after warm-up: to zero over the steps; to a tenth at each of the `milestones`; or
            by `rate_decay` an epoch.
        milestones: for the schedule `steps`, the epochs, counted from 0, from which on it is a tenth of what it was.
        clip_norm: the norm to which the gradients that move the weights, summed over the workers, are clipped together.
        accumulate: into how many micro-batches a worker divides its share of a step; it changes memory, not results
            beyond batch-norm statistics.
        checkpoint_minutes: write a checkpoint this often, besides the one that ends each epoch.
        on_divergence: when the loss is no number any more or has exploded, `stop`, or go on from the end of the last
            epoch before with a tenth of the rate (`lower-lr`).
        validation_paths: after each epoch, how many uniformly drawn sub-networks are evaluated on the validation
            images, and their mean accuracy logged.
    """

    epochs: int = Field(default=240, ge=1)
    steps: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=1024, ge=1)
    optimizer: Literal["sgd", "rmsprop"] = "sgd"
    learning_rate: float = Field(default=0.5, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=4e-5, ge=0)
    schedule: Literal["linear", "cosine", "steps", "exponential"] = "linear"
    milestones: tuple[float, ...] = ()
    rate_decay: float | None = Field(default=None, gt=0, lt=1)
    warmup_epochs: float = Field(default=0, ge=0)
    label_smoothing: float = Field(default=0, ge=0, lt=1)
    clip_norm: float | None = Field(default=None, gt=0)
    accumulate: int = Field(default=1, ge=1)
    checkpoint_minutes: float | None = Field(default=None, gt=0)
    on_divergence: Literal["stop", "lower-lr"] = "stop"
    validation_paths: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _milestones_belong_to_steps(self) -> Self:
        if (self.schedule == "steps") != bool(self.milestones):
            raise ValueError("the schedule steps and its milestones go together: give both, or neither")
        if (self.schedule == "exponential") != (self.rate_decay is not None):
            raise ValueError("the schedule exponential and its rate_decay go together: give both, or neither")
        return self


class TeacherSettings(Settings):
    """A network whose answers another learns beside the labels (Hinton et al., 2015).

    Attributes:
        model: a torchvision classification model, such as `efficientnet_b4`.
        weights: `DEFAULT` for torchvision's own, which are downloaded; or a .safetensors or .pth file of a state dict.
        share: of the teacher in the loss; the labels have the rest.
        temperature: by which both networks' logits are divided.
        mean, std: of the red, green and blue channel (0..1), as the teacher's images were normalised.
    """

    model: str
    weights: str = "DEFAULT"
    share: float = Field(default=0.5, gt=0, le=1)
    temperature: float = Field(default=1.0, gt=0)
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = (0.229, 0.224, 0.225)


class FitSettings(TrainingSettings):
    """How one network is trained alone.

    Attributes:
        inherit: start from the supernet's weights instead of from scratch.
        cutout: side in pixels of the square that is blanked in each training image; 0 for none.
        auxiliary_weight: of the loss of a second classifier behind the last reduction of a network of cells (DARTS:
            0.4); it is not there when the network is evaluated; 0 for none.
        drop_path: the probability with which an operation of a network of cells gives an image nothing, towards which
            it rises linearly from 0 in the first epoch (DARTS: 0.2, PC-DARTS: 0.3).
        stochastic_depth: the probability with which the last block that adds its input gives an image nothing else;
            those before it do so by their place (Huang et al., 2016).
        ema: of an exponential moving average of the weights, which is what the network is measured with: the share
            that a step leaves of it, less in the first steps; without it, the last weights count.
        policy: a torchvision policy of augmentation, drawn for each image before it is cropped.
        teacher: a network to learn from, too.
    """

    inherit: bool = False
    cutout: int = Field(default=0, ge=0)
    auxiliary_weight: float = Field(default=0, ge=0)
    drop_path: float = Field(default=0, ge=0, lt=1)
    stochastic_depth: float = Field(default=0, ge=0, lt=1)
    ema: float | None = Field(default=None, gt=0, lt=1)
    policy: Literal["none", "randaugment", "autoaugment", "autoaugment-cifar10"] = "none"
    teacher: TeacherSettings | None = None


class Racing(Settings):
    """When an architecture is measured on no more images, as it cannot survive its generation.

    Attributes:
        risk: the probability with which a generation drops any that would have survived, at the most.
        bound: on what an architecture would reach on all images, from what it reached on those seen.
    """

    risk: float = Field(default=0.01, gt=0, lt=1)
    bound: Literal["hypergeometric", "hoeffding"] = "hypergeometric"


class EvaluationSettings(Settings):
    """How one-shot accuracy is measured: on all validation images, batch norm recomputed on training images first.

    Attributes:
        racing: measure a generation in rounds, on twice as many images each, and drop what cannot survive; `true` for
            the defaults. Of searches that select by rank (NSGA-II); others measure all on all images.
        precision: in which convolutions and linear layers compute; `bfloat16` is faster where the machine has it.
    """

    batch_size: int = Field(default=256, ge=1)
    recalibration_images: int = Field(default=2048, ge=1)
    recalibration_batch_size: int = Field(default=256, ge=2)
    precision: Literal["float32", "bfloat16"] = "float32"
    racing: Annotated[Racing | None, BeforeValidator(_defaults_if_true)] = None


class ScaleSettings(Settings):
    """What the run takes of the machine or the cluster.

    Attributes:
        train_workers: data-parallel Ray Train workers.
        evaluators: supernet actors that answer a search's questions.
        gpus: give each worker and each evaluator this many GPUs (a fraction lets evaluators share one).
        memory_gib: what each worker and each evaluator is to have; a node is chosen by it, and nothing enforces it.
        concurrent_trials: how many trials of a sweep run side by side.
        threads: torch threads in every process.
        max_failures: how often Ray Train and Ray Tune restart what died before the run gives up.
        wait_minutes: how long a run on a joined cluster waits for the resources that a step needs.
        deterministic: on GPUs, use deterministic kernels alone.
    """

    train_workers: int = Field(default=1, ge=1)
    evaluators: int = Field(default=2, ge=1)
    gpus: float = Field(default=0, ge=0)
    memory_gib: float = Field(default=0, ge=0)
    concurrent_trials: int = Field(default=1, ge=1)
    threads: int = Field(default=1, ge=1)
    max_failures: int = Field(default=3, ge=0)
    wait_minutes: float = Field(default=10, ge=0)
    deterministic: bool = False


class LatencySettings(Settings):
    """A measured latency table: a CSV or YAML file, and which table of the file where it holds several."""

    path: Annotated[Path, AfterValidator(absolute)]
    table: str | None = None


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
    search: dict[str, Any] = {}
    evaluation: EvaluationSettings = EvaluationSettings()
    fit: FitSettings = FitSettings()
    scale: ScaleSettings = ScaleSettings()
    seed: int = Field(default=0, ge=0)
    notes: tuple[str, ...] = ()
    track: tuple[Tracker, ...] = ()

    @model_validator(mode="after")
    def _an_image_for_every_micro_batch(self) -> Recipe:
        for name, settings in (("training", self.training), ("fit", self.fit)):
            if settings.batch_size < self.scale.train_workers * settings.accumulate:
                raise ValueError(
                    f"{name}.batch_size = {settings.batch_size} is less than {self.scale.train_workers} workers times "
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
        recipe = validated(cls, content, "the recipe")
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
        Damaged: if it is not what a run wrote.
    """
    text = folder.read("recipe.yaml").decode(errors="replace")
    try:
        content = read_yaml(text, f"recipe.yaml in {folder.uri}")
    except UserError as error:
        raise Damaged(str(error)) from error
    if not isinstance(content, dict) or not Recipe.model_fields.keys() <= content.keys():
        raise Damaged(f"recipe.yaml in {folder.uri} cannot be read: it does not hold all that a recipe has.")
    return content


def _set(content: dict[str, Any], change: str) -> None:
    path, equals, value = change.partition("=")
    if not equals or not path:
        raise UserError(f"--set takes PATH=VALUE, such as scale.evaluators=2, not {change!r}.")
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
        if f"{under}{key}" not in _FREE
    }


def difference(before: Mapping[str, Any], now: Mapping[str, Any], under: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Each field that may change results and differs between two recipes' JSON: its path, its value before and now."""
    for key in sorted({*before, *now}):
        path = f"{under}{key}"
        old, new = before.get(key), now.get(key)
        if path in _FREE or old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from difference(old, new, f"{path}.")
        else:
            yield path, old, new
