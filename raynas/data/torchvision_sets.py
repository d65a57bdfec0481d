"""torchvision's named image classification data sets, which differ in how one asks for a set and for its labels."""

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
# How each data set is asked for its training and for its test images.
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
    """The training or the test images of a data set; `pixels` holds them all where torchvision has them in memory."""

    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    pixels: NDArray[np.uint8] | None
    image: Callable[[int], Image.Image]


def read_torchvision(name: str, root: Path, is_train: bool) -> TorchvisionSet:
    """The training or the test images of torchvision's data set `name` at `root`, downloaded if they are not there.

    Raises:
        UserError: if there is no such data set, or it can be neither found nor fetched.
    """
    from torchvision import datasets

    if name not in _ARGUMENTS:
        every = ["digits", "folder", "npz", *sorted(_ARGUMENTS)]
        raise UserError(f"There is no image classification data set {name!r}; {nearest(name, every)}")
    download = {} if name in _NEVER_DOWNLOADED else {"download": True}
    try:
        with redirect_stdout(sys.stderr):
            found = getattr(datasets, name)(root=str(root), **_ARGUMENTS[name][0 if is_train else 1], **download)
    except (OSError, RuntimeError, ImportError, ValueError) as error:
        raise UserError(
            f"{name} is not at {root} and could not be fetched ({' '.join(str(error).split())}); put it there, or set "
            "data.path."
        ) from error
    labels = _labels(found)
    names = getattr(found, "classes", None) or range(int(labels.max()) + 1)
    classes = tuple(each[0] if isinstance(each, tuple) else str(each) for each in names)

    def image(index: int) -> Image.Image:
        decoded: Image.Image = found[index][0]
        return decoded

    return TorchvisionSet(classes, labels, np.asarray(found.data) if hasattr(found, "data") else None, image)


def _labels(found: Any) -> NDArray[np.int64]:
    """A label an image, from whichever attribute the data set keeps them in."""
    for attribute in ("targets", "labels", "_labels"):
        if hasattr(found, attribute):
            return np.asarray(getattr(found, attribute), dtype=np.int64)
    return np.array([label for _, label in found._samples], dtype=np.int64)
