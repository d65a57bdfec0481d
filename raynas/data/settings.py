"""The settings of a run's images, and the specification that the driver makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def _check_classes(value: Any) -> Any:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 2
    is_list = isinstance(value, list | tuple) and len(value) >= 2 and all(isinstance(name, str | int) for name in value)
    if value is not None and not is_count and not is_list:
        raise ValueError("classes must be a count of at least 2, or a list of at least two names or indices")
    return value


def _check_amount(value: Any) -> Any:
    is_number = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    is_share = isinstance(value, float) and 0 < value < 1
    if not is_number and not is_share:
        raise ValueError("it must be a share between 0 and 1, or an integer number of images of each class")
    return value


def _check_colour(value: str) -> str:
    from PIL import ImageColor

    ImageColor.getrgb(value)
    return value


class DataSettings(BaseModel):
    """The images of a run.

    Attributes:
        name: `digits` (1,797 handwritten digits of 8x8 pixels, bundled with scikit-learn); the class name of a
            torchvision data set, such as `CIFAR10`, which is downloaded if it is not at `path`; `folder`; or `npz`.
        path: the root of a torchvision data set; a folder of images, an archive of one, or a table of files (see
            `docs/how-to/images.md`); or an `.npz` file of uint8 arrays `x_train`, `x_test`, shape (N, H, W) or
            (N, H, W, 1 or 3), and integer labels `y_train`, `y_test`.
        classes: all classes (None); a number of classes, drawn by the run's seed; or a list of names, or of indices in
            the data set's order.
        fraction: the share of each class's training images to use. All test images are used.
        validation: the training images to hold out for the search: a share of each class, or a number of images of
            each class. A folder with train/, val/ and test/ has its own.
        test: the same for the test images of a data set that has none.
        unreadable: what to do if images cannot be decoded: `refuse` the run, or `skip` them.
        background: the colour behind transparent pixels, as Pillow writes colours: `white`, `#808080`.
        augment: the augmentation of training images. `crop` pads with 4 pixels and crops at random. `crop-flip` also
            mirrors half of the images. `random-resized-crop` crops 8 to 100 % of the area at a ratio of 3/4 to 4/3 and
            mirrors half of the images.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = "digits"
    path: Path | None = None
    classes: Annotated[int | tuple[int | str, ...] | None, BeforeValidator(_check_classes)] = None
    fraction: float = Field(default=1.0, gt=0, le=1)
    validation: Annotated[int | float, BeforeValidator(_check_amount)] = 0.2
    test: Annotated[int | float, BeforeValidator(_check_amount)] = 0.2
    unreadable: Literal["refuse", "skip"] = "refuse"
    background: Annotated[str, AfterValidator(_check_colour)] = "white"
    augment: Literal["none", "crop", "crop-flip", "random-resized-crop"] = "crop"

    @model_validator(mode="after")
    def _check_path(self) -> Self:
        if self.name in ("folder", "npz") and self.path is None:
            raise ValueError(f"the data set {self.name!r} needs a path; set data.path")
        if self.name == "digits" and self.path is not None:
            raise ValueError("the data set 'digits' is bundled and takes no path; remove data.path")
        return self


class PreparedData(BaseModel):
    """The specification of a run's images. From its JSON, any process on any node opens the same images.

    Attributes:
        settings: the settings, with an absolute path.
        resolution: height and width of a network's input images, in pixels.
        seed: the seed that draws the classes, the fraction, the validation images and the recalibration images.
        fingerprint: SHA-256 of the data set's content: of the arrays, or of a folder's file names and sizes and, up to
            1 GiB, their content. A torchvision data set of files is identified by its name and labels. The path does
            not change the fingerprint.
        selection: SHA-256 of the chosen images and their labels.
        split: SHA-256 of the column `part` of `Images.split`.
        classes: the names of the chosen classes; a label is an index into them.
        counts: the number of images of each part: `train`, `validation`, `test`.
        largest_test_class: the name of the class that most test images have, and its share of them (0..1).
        unreadable: the numbers of the images of the data set that cannot be decoded and are left out.
        remarks: sentences for people: what was found, what was left out, and what may go wrong.
        mean, std: mean and standard deviation of the red, green and blue channel over the training part (0..1).
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
    largest_test_class: tuple[str, float]
    unreadable: tuple[int, ...] = ()
    remarks: tuple[str, ...] = ()
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def count(self, part: str) -> int:
        """Return the number of images of a part; `all-training` is `train` and `validation` together."""
        if part == "all-training":
            return self.counts["train"] + self.counts["validation"]
        return self.counts[part]

    def identity(self) -> dict[str, str]:
        """Return the hashes that decide the images and their parts. The path of the data is not part of them."""
        return {"fingerprint": self.fingerprint, "selection": self.selection, "split": self.split}
