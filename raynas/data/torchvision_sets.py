"""The image classification data sets of torchvision.

Their classes differ in the arguments of a training or test set, and in the attribute that holds the labels.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from search_spaces.errors import UserError, nearest

_BY_FLAG = ("CIFAR10", "CIFAR100", "FashionMNIST", "KMNIST", "MNIST", "USPS")
_BY_SPLIT = {
    "train/test": ("Country211", "DTD", "Flowers102", "Food101", "GTSRB", "RenderedSST2", "STL10", "SVHN"),
    "trainval/test": ("FGVCAircraft", "OxfordIIITPet"),
    "train/val": ("ImageNet", "Imagenette"),
}
# The arguments for the training images and for the test images of each data set.
_ARGUMENTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    **{name: ({"train": True}, {"train": False}) for name in _BY_FLAG},
    **{
        name: ({"split": splits.split("/")[0]}, {"split": splits.split("/")[1]})
        for splits, names in _BY_SPLIT.items()
        for name in names
    },
}
_NEVER_DOWNLOADED = ("ImageNet",)


@dataclass(frozen=True)
class TorchvisionSet:
    """The training or the test images of a data set.

    Attributes:
        pixels: all images, if torchvision holds them in memory.
        image: decodes one image by its number.
    """

    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    pixels: NDArray[np.uint8] | None
    image: Callable[[int], Image.Image]


def torchvision_names() -> list[str]:
    """Return the names of all data sets that `read_torchvision` reads."""
    return sorted(_ARGUMENTS)


def read_torchvision(name: str, root: Path, is_train: bool) -> TorchvisionSet:
    """Read the training or the test images of a data set, and download it to `root` if it is not there.

    Raises:
        UserError: if there is no such data set, or if it is absent and cannot be downloaded.
    """
    if name not in _ARGUMENTS:
        known = ["digits", "folder", "npz", *torchvision_names()]
        raise UserError(f"There is no image classification data set {name!r}; {nearest(name, known)}")
    from torchvision import datasets

    download = {} if name in _NEVER_DOWNLOADED else {"download": True}
    try:
        with redirect_stdout(sys.stderr):
            data_set = getattr(datasets, name)(root=str(root), **_ARGUMENTS[name][0 if is_train else 1], **download)
    except (OSError, RuntimeError, ImportError, ValueError) as error:
        raise UserError(
            f"{name} is not at {root} and could not be downloaded ({' '.join(str(error).split())}). Put it there, or "
            "set data.path."
        ) from error
    labels = _read_labels(data_set)
    names = getattr(data_set, "classes", None) or range(int(labels.max()) + 1)
    classes = tuple(name[0] if isinstance(name, tuple) else str(name) for name in names)

    def image(index: int) -> Image.Image:
        decoded: Image.Image = data_set[index][0]
        return decoded

    return TorchvisionSet(classes, labels, np.asarray(data_set.data) if hasattr(data_set, "data") else None, image)


def _read_labels(data_set: Any) -> NDArray[np.int64]:
    """Return the label of each image. The name of the attribute depends on the data set."""
    for attribute in ("targets", "labels", "_labels"):
        if hasattr(data_set, attribute):
            return np.asarray(getattr(data_set, attribute), dtype=np.int64)
    return np.array([label for _, label in data_set._samples], dtype=np.int64)
