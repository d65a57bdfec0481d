"""The settings of a recipe, one class for each of its parts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

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

from search_spaces.validation import absolute

if TYPE_CHECKING:
    pass


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
        """Return the settings as plain JSON, as other processes and the run folder get them."""
        return self.model_dump(mode="json")

    def changed(self, **values: Any) -> Self:
        """Return a copy with other values, validated like new settings.

        Raises:
            ValidationError: if a value is not valid.
        """
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_validate({**fields, **values})


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


class RacingSettings(Settings):
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
    racing: Annotated[RacingSettings | None, BeforeValidator(_defaults_if_true)] = None


class ProcessScale(Settings):
    """What each process of a group takes of its node.

    Attributes:
        gpus: GPUs of each process. A fraction lets several evaluators share one GPU.
        cpus: CPUs that Ray reserves for each process.
        threads: torch threads of each process.
        memory_gib: memory of each process. Ray places processes by it, but enforces nothing.
    """

    gpus: float = Field(default=0, ge=0)
    cpus: float = Field(default=0, ge=0)
    threads: int = Field(default=1, ge=1)
    memory_gib: float = Field(default=0, ge=0)


class TrainScale(ProcessScale):
    """The data-parallel Ray Train workers of a training step."""

    workers: int = Field(default=1, ge=1)
    cpus: float = Field(default=1, ge=0)


class EvaluateScale(ProcessScale):
    """The evaluators of a search: Ray actors that hold the supernet. They reserve no CPU by default."""

    actors: int = Field(default=2, ge=1)


class ScaleSettings(Settings):
    """What a run takes of the machine or the cluster.

    Attributes:
        concurrent_trials: trials of a sweep that run side by side.
        max_failures: restarts of a worker or trial by Ray Train or Ray Tune before the run gives up.
        wait_minutes: how long a run waits on a joined cluster for the resources of a step.
        deterministic: on GPUs, use deterministic kernels only.
    """

    train: TrainScale = TrainScale()
    evaluate: EvaluateScale = EvaluateScale()
    concurrent_trials: int = Field(default=1, ge=1)
    max_failures: int = Field(default=3, ge=0)
    wait_minutes: float = Field(default=10, ge=0)
    deterministic: bool = False


class LatencySettings(Settings):
    """A measured latency table: a CSV or YAML file, and which table of the file where it holds several."""

    path: Annotated[Path, AfterValidator(absolute)]
    table: str | None = None


Tracker = Literal["mlflow", "wandb"]
