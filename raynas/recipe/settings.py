"""The settings of a recipe: one class for each part."""

from __future__ import annotations

from collections.abc import Collection
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

from search_spaces.errors import UserError
from search_spaces.validation import absolute


class Settings(BaseModel):
    """A part of a recipe.

    Unknown keys are errors, values never change, and numbers are finite. `true` and `false` are not numbers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _check_number(cls, value: Any, info: ValidationInfo) -> Any:
        kind = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and kind in (int, float, int | None, float | None):
            raise ValueError("it has to be a number, not true or false")
        return value

    def json_value(self) -> dict[str, Any]:
        """Return the settings as plain JSON, for other processes and for the run folder."""
        return self.model_dump(mode="json")

    def changed(self, **values: Any) -> Self:
        """Return a copy with other values, validated like new settings.

        Raises:
            ValidationError: if a value is not valid.
        """
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_validate({**fields, **values})


def _read_true_as_defaults(value: Any) -> Any:
    return {} if value is True else None if value is False else value


class TrainingSettings(Settings):
    """How to train weights, in a supernet or of one network.

    Attributes:
        epochs: passes over the training images.
        steps: the most training steps of an epoch. By default, as many as there are full batches.
        batch_size: images of a training step, over all workers.
        optimizer: `sgd`, or `rmsprop` as EfficientNet has it: the mean of squares begins at 1 and decays by a tenth at
            each training step, and epsilon, 0.001, is below the root.
        learning_rate: the rate after warm-up. It does not depend on the number of workers.
        momentum: momentum of the optimizer.
        weight_decay: the multiple of the weights that is added to their gradients.
        no_decay: the weights without decay: those of batch norms (`norm`), and the biases of other layers (`bias`).
        schedule: how the rate falls after warm-up. `linear` and `cosine` end at zero, `steps` divides the rate by ten
            at each of the `milestones`, and `exponential` multiplies it by `rate_decay` at each epoch.
        milestones: of the schedule `steps`: the epochs, counted from 0, at which the rate falls to a tenth.
        rate_decay: of the schedule `exponential`: the factor of the rate at each epoch.
        warmup_epochs: epochs in which the rate rises to `learning_rate`.
        label_smoothing: the share of the label that is spread evenly over all classes.
        class_weights: `balanced` multiplies the loss of an image of a class by (images / classes / images of the
            class), so that all classes weigh equally. The mean of the factors over the images is 1.
        sampler: `uniform` takes each image once an epoch. `balanced` draws each class equally often, its images with
            replacement.
        initial_gamma: the scale with which the last batch norm of each residual branch begins. With 0 every block
            begins as the identity (Goyal et al., 2017), with 1 like any other batch norm.
        ema: the share of the moving average of the weights that a training step keeps; less in the first steps. With
            it, the average is what is evaluated and written, and not the last weights.
        policy: the torchvision augmentation policy, drawn for each image before the crop.
        color_jitter: the greatest change of brightness, contrast and saturation, each drawn for each image, as a share.
        cutout: side in pixels of the square to blank in each training image; 0 for none.
        clip_norm: the largest joint norm of the gradients of the weights, after their sum over the workers.
        accumulate: micro-batches into which a worker divides its share of a batch. More of them need less memory. Of
            the results, only batch-norm statistics change.
        checkpoint_minutes: minutes between checkpoints. Each epoch also ends with a checkpoint.
        on_divergence: if the loss explodes or is not a number, `stop`, or continue from the end of the previous epoch
            with a tenth of the rate (`lower-lr`).
        validation_paths: uniformly drawn sub-networks to evaluate on the validation images after each epoch. The log
            holds their mean accuracy.
    """

    epochs: int = Field(default=240, ge=1)
    steps: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=1024, ge=1)
    optimizer: Literal["sgd", "rmsprop"] = "sgd"
    learning_rate: float = Field(default=0.5, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=4e-5, ge=0)
    no_decay: tuple[Literal["norm", "bias"], ...] = ()
    schedule: Literal["linear", "cosine", "steps", "exponential"] = "linear"
    milestones: tuple[float, ...] = ()
    rate_decay: float | None = Field(default=None, gt=0, lt=1)
    warmup_epochs: float = Field(default=0, ge=0)
    label_smoothing: float = Field(default=0, ge=0, lt=1)
    class_weights: Literal["none", "balanced"] = Field(default="none", exclude_if=lambda value: value == "none")
    sampler: Literal["uniform", "balanced"] = Field(default="uniform", exclude_if=lambda value: value == "uniform")
    initial_gamma: float = Field(default=0, ge=0)
    ema: float | None = Field(default=None, gt=0, lt=1)
    policy: Literal["none", "randaugment", "autoaugment", "autoaugment-cifar10"] = "none"
    color_jitter: float = Field(default=0, ge=0, lt=1)
    cutout: int = Field(default=0, ge=0)
    clip_norm: float | None = Field(default=None, gt=0)
    accumulate: int = Field(default=1, ge=1)
    checkpoint_minutes: float | None = Field(default=None, gt=0)
    on_divergence: Literal["stop", "lower-lr"] = "stop"
    validation_paths: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _check_schedule(self) -> Self:
        if (self.schedule == "steps") != bool(self.milestones):
            raise ValueError("the schedule steps and its milestones go together: set both, or neither")
        if (self.schedule == "exponential") != (self.rate_decay is not None):
            raise ValueError("the schedule exponential and its rate_decay go together: set both, or neither")
        return self

    @model_validator(mode="after")
    def _check_balance(self) -> Self:
        if self.class_weights == "balanced" and self.sampler == "balanced":
            raise ValueError(
                "class_weights and sampler would both balance the classes: set only one of them to balanced"
            )
        return self


CHOSEN = ("epochs", "batch_size", "learning_rate")
"""The settings of a training that depend on the images and on the network: no default suits all."""


def check_chosen(settings: TrainingSettings, group: str, keys: Collection[str] = CHOSEN) -> None:
    """Check that a recipe chooses settings of a training.

    Args:
        group: the key of the settings in the recipe.

    Raises:
        UserError: if the recipe leaves one of the keys open.
    """
    missing = [f"{group}.{key}" for key in CHOSEN if key in keys and key not in settings.model_fields_set]
    if missing:
        *others, last = missing
        listed, pronoun = (f"{', '.join(others)} and {last} have", "them") if others else (f"{last} has", "it")
        raise UserError(
            f"{listed} no default that suits all images and networks: set {pronoun}. The published recipes have the "
            "values of the papers."
        )


class TeacherSettings(Settings):
    """A teacher: a network whose outputs another network learns beside the labels (Hinton et al., 2015).

    Attributes:
        model: a torchvision classification model, such as `efficientnet_b4`.
        weights: `DEFAULT` to download torchvision's weights, or a .safetensors or .pth file of a state dict.
        share: the teacher's share of the loss. The labels have the rest.
        temperature: the divisor of both networks' logits.
        mean, std: mean and standard deviation of the red, green and blue channel (0..1) of the teacher's images.
    """

    model: str
    weights: str = "DEFAULT"
    share: float = Field(default=0.5, gt=0, le=1)
    temperature: float = Field(default=1.0, gt=0)
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = (0.229, 0.224, 0.225)


class FitSettings(TrainingSettings):
    """How to train one network stand-alone.

    Attributes:
        inherit: start from the supernet's weights instead of from scratch.
        auxiliary_weight: weight of the loss of a second classifier behind the last reduction cell of a network of
            cells (DARTS: 0.4); 0 for none. Evaluation does not use this classifier.
        drop_path: the probability that an operation of a network of cells outputs zero for an image. It rises linearly
            from 0 in the first epoch to this value (DARTS: 0.2, PC-DARTS: 0.3).
        stochastic_depth: the probability that the last residual block passes only its input on for an image. It falls
            with the place of a block in the network (Huang et al., 2016).
        dropout: the probability that a feature before the classifier is zero for an image.
        teacher: a teacher to learn from, beside the labels.
    """

    inherit: bool = False
    auxiliary_weight: float = Field(default=0, ge=0)
    drop_path: float = Field(default=0, ge=0, lt=1)
    stochastic_depth: float = Field(default=0, ge=0, lt=1)
    dropout: float = Field(default=0, ge=0, lt=1)
    teacher: TeacherSettings | None = None


class RacingSettings(Settings):
    """When to stop measuring an architecture that cannot survive its generation.

    Attributes:
        risk: the largest probability that a generation drops any architecture that would have survived.
        bound: the bound on an architecture's accuracy on all images, from its accuracy on the images seen so far.
    """

    risk: float = Field(default=0.01, gt=0, lt=1)
    bound: Literal["hypergeometric", "hoeffding"] = "hypergeometric"


class EvaluationSettings(Settings):
    """How to measure one-shot accuracy: on all validation images, after batch-norm recalibration on training images.

    Attributes:
        batch_size: images of a batch of the validation part.
        recalibration_images: training images for batch-norm recalibration.
        recalibration_batch_size: images of a batch of batch-norm recalibration.
        precision: number type of convolutions and linear layers. `bfloat16` is faster on machines that support it.
        racing: measure a generation in rounds with twice as many images each, and drop architectures that cannot
            survive; `true` for the defaults. Only searches that select by rank (NSGA-II) use it.
    """

    batch_size: int = Field(default=256, ge=1)
    recalibration_images: int = Field(default=2048, ge=1)
    recalibration_batch_size: int = Field(default=256, ge=2)
    precision: Literal["float32", "bfloat16"] = "float32"
    racing: Annotated[RacingSettings | None, BeforeValidator(_read_true_as_defaults)] = None


class ProcessScale(Settings):
    """The resources of each process of a group.

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
    """The data-parallel Ray Train workers of a training.

    Attributes:
        workers: number of workers. They share the batch of a training step.
    """

    workers: int = Field(default=1, ge=1)
    cpus: float = Field(default=1, ge=0)


class EvaluateScale(ProcessScale):
    """The evaluators of a search: Ray actors that hold the supernet. They reserve no CPU by default.

    Attributes:
        actors: number of evaluators.
    """

    actors: int = Field(default=2, ge=1)


class ScaleSettings(Settings):
    """The resources of a run on the machine or the cluster.

    Attributes:
        train: the training workers.
        evaluate: the evaluators.
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
    """A measured latency table.

    Attributes:
        path: a CSV or YAML file.
        table: the name of the table, if the file holds several.
    """

    path: Annotated[Path, AfterValidator(absolute)]
    table: str | None = None


Tracker = Literal["mlflow", "wandb"]
