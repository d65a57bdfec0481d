"""torchvision's named image classification data sets, which differ in how one asks for a set and for its labels."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from search_spaces.errors import UserError

# A set is asked for by `train` or by `split`; a class that takes one of these asks for something else than classes.
_OTHER_TASKS = {"annFile", "ann_file", "annotation_path", "name", "target_type", "target_types", "transforms", "what"}


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
        UserError: if there is no such data set, it is not for classification, or it can be neither found nor fetched.
    """
    from torchvision import datasets

    known = [other for other in datasets.__all__ if _ways_to_ask(getattr(datasets, other), is_train)]
    if name not in known:
        near = get_close_matches(name, ["digits", "folder", "npz", *known], n=3, cutoff=0.5)
        instead = f"did you mean {' or '.join(near)}?" if near else "it is digits, folder, npz or one of torchvision's."
        raise UserError(f"There is no image classification data set {name!r}; {instead}")
    found = _ask(name, root, getattr(datasets, name), is_train)
    labels = _labels(name, found)
    names = getattr(found, "classes", None) or range(int(labels.max()) + 1)
    classes = tuple(each[0] if isinstance(each, tuple) else str(each) for each in names)

    def image(index: int) -> Image.Image:
        decoded: Image.Image = found[index][0]
        return decoded

    return TorchvisionSet(classes, labels, np.asarray(found.data) if hasattr(found, "data") else None, image)


def _ways_to_ask(kind: Any, is_train: bool) -> list[dict[str, Any]]:
    parameters = inspect.signature(kind).parameters
    if _OTHER_TASKS & set(parameters):
        return []
    if "train" in parameters:
        return [{"train": is_train}]
    if "split" in parameters and isinstance(parameters["split"].default, str):
        return [{"split": split} for split in (("train", "trainval") if is_train else ("test", "val"))]
    return []


def _ask(name: str, root: Path, kind: Any, is_train: bool) -> Any:
    download = {"download": True} if "download" in inspect.signature(kind).parameters else {}
    refusal: Exception | None = None
    for arguments in _ways_to_ask(kind, is_train):
        try:
            with redirect_stdout(sys.stderr):
                return kind(root=str(root), **arguments, **download)
        except ValueError as error:  # torchvision's answer to a split that the data set does not have
            refusal = error
        except (OSError, RuntimeError, ImportError) as error:
            raise UserError(
                f"{name} is not at {root} and could not be fetched ({error}); put it there, or set data.path."
            ) from error
    raise UserError(
        f"torchvision gives no {'training' if is_train else 'test'} images of {name}: {refusal}"
    ) from refusal


def _labels(name: str, found: Any) -> NDArray[np.int64]:
    lists = [getattr(found, attribute) for attribute in ("targets", "labels", "_labels") if hasattr(found, attribute)]
    pairs = [getattr(found, attribute) for attribute in ("samples", "_samples") if hasattr(found, attribute)]
    try:
        labels = np.asarray(lists[0] if lists else [label for _, label in pairs[0]], dtype=np.int64)
    except (IndexError, TypeError, ValueError):
        labels = np.empty(0, dtype=np.int64)
    if labels.shape != (len(found),):
        raise UserError(f"torchvision does not tell one class for each image of {name}; give it as a folder instead.")
    return labels
