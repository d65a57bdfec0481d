"""What a recipe says about its images, and what the driver found out about them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def _check_classes(value: Any) -> Any:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 2
    is_list = isinstance(value, list | tuple) and len(value) >= 2 and all(isinstance(name, str | int) for name in value)
    if value is not None and not is_count and not is_list:
        raise ValueError("classes are a count of at least 2, or a list of at least two names or indices")
    return value


def _check_validation(value: Any) -> Any:
    is_number = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    is_share = isinstance(value, float) and 0 < value < 1
    if not is_number and not is_share:
        raise ValueError("validation is a share between 0 and 1, or a whole number of images a class")
    return value


class DataSettings(BaseModel):
    """The images of a run.

    Attributes:
        name: `digits` (1,797 handwritten digits of 8x8, bundled with scikit-learn); a torchvision data set's class
            name, such as `CIFAR10`, downloaded where it is not at `path` yet; `folder`; or `npz`.
        path: a torchvision data set's root; a folder that holds train/ and test/ (or, without a test/, val/), each
            with a folder of images a class; or an `.npz` file of uint8 arrays `x_train`, `x_test`, shape (N, H, W) or
            (N, H, W, 1 or 3), and integer labels `y_train`, `y_test`.
        classes: all (None), so many, drawn by the run's seed, or these: names, or indices in the data set's order.
        fraction: the share of each class's training images that is used; the test images are all used.
        validation: what is held out of the training images for the search: a share of each class, or a number a class.
        augment: what training does to its images: `crop` pads by 4 pixels and crops at random, `crop-flip` also
            mirrors every other image, `random-resized-crop` crops 8 to 100 % of the area at a ratio of 3/4 to 4/3 and
            mirrors every other.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = "digits"
    path: Path | None = None
    classes: Annotated[int | tuple[int | str, ...] | None, BeforeValidator(_check_classes)] = None
    fraction: float = Field(default=1.0, gt=0, le=1)
    validation: Annotated[int | float, BeforeValidator(_check_validation)] = 0.2
    augment: Literal["none", "crop", "crop-flip", "random-resized-crop"] = "crop"

    @model_validator(mode="after")
    def _path_where_needed(self) -> Self:
        if self.name in ("folder", "npz") and self.path is None:
            raise ValueError(f"the data set {self.name!r} needs a path")
        if self.name == "digits" and self.path is not None:
            raise ValueError("the data set 'digits' is bundled and takes no path")
        return self


class PreparedData(BaseModel):
    """What the driver found: enough, as plain JSON, for any process on any node to open the very same images.

    Attributes:
        settings: with an absolute path.
        resolution: height and width of the images that a network sees, in pixels.
        seed: what drew the classes, the fraction, the validation images and the recalibration images.
        fingerprint: SHA-256 of the data set's content: of the arrays, or of a folder's file names and sizes and, up to
            1 GiB, their content; a torchvision data set of files is known by its name and labels. Where the data lies
            does not change it.
        selection: SHA-256 of which images are used, and their labels.
        split: SHA-256 of the table `Images.split`.
        classes: the names of the classes that are used; a label is an index into them.
        counts: the number of images in each part: `train`, `validation`, `test`.
        mean, std: of the red, green and blue channel over the training part (0..1).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    settings: DataSettings
    resolution: int
    seed: int
    fingerprint: str
    selection: str
    split: str
    classes: tuple[str, ...]
    counts: dict[str, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def count(self, part: str) -> int:
        """Return the number of images of a part; `all-training` is `train` and `validation` together."""
        if part == "all-training":
            return self.counts["train"] + self.counts["validation"]
        return self.counts[part]

    def identity(self) -> dict[str, str]:
        """Return what decides the images and their parts, wherever the data lies."""
        return {"fingerprint": self.fingerprint, "selection": self.selection, "split": self.split}
