"""The sources of images: bundled digits, folders, .npz files and torchvision. A source decodes images on demand."""

from __future__ import annotations

import gzip
import hashlib
import os
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from raynas.data.cache import cache_root
from raynas.data.settings import DataSettings
from raynas.data.torchvision_sets import read_torchvision
from search_spaces.errors import UserError

_HASHED_BYTES = 1 << 30
_DIGITS_FILE = "sklearn/datasets/data/digits.csv.gz"
"""The file that `sklearn.datasets.load_digits` reads; importing sklearn for it would take a second."""
_IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""The extensions of `torchvision.datasets.ImageFolder`, without importing torchvision, which takes two seconds."""


@dataclass(frozen=True)
class Source:
    """A data set: training images, then test images, numbered from 0 to N - 1.

    Attributes:
        fingerprint: SHA-256 of the content. The path does not change it.
        classes: the names of all classes; a label is an index into them.
        labels: shape (N,): the labels of the `train_count` training images, then of the test images.
        image: decodes one image by its number.
    """

    fingerprint: str
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    train_count: int
    image: Callable[[int], Image.Image]


def read_source(settings: DataSettings) -> Source:
    """Read a data set with all its classes.

    Raises:
        UserError: if there is no such data set, or if the content of its path is not valid.
    """
    if settings.name == "digits":
        return _read_digits()
    if settings.name in ("folder", "npz"):
        assert settings.path is not None, "the settings were validated"
        if not os.path.exists(settings.path):  # unlike Path.exists, it takes a name of any length
            kind = "a folder" if settings.name == "folder" else "an .npz file"
            raise UserError(f"There is nothing at {settings.path}. Set data.path to {kind} that exists.")
        source = _read_folder(settings.path) if settings.name == "folder" else _read_npz(settings.path)
        if len(source.classes) < 2:
            raise UserError(
                f"{settings.path} has only one class, {source.classes[0]!r}; a network needs at least two. Add another."
            )
        return source
    return _read_torchvision_set(settings.name, settings.path or cache_root() / "torchvision")


def _read_digits() -> Source:
    """Read scikit-learn's digits. The last fifth of each class is the test set: most of its writers are new."""
    file = Path(str(distribution("scikit-learn").locate_file(_DIGITS_FILE)))
    with gzip.open(file, "rt") as text:
        rows = np.loadtxt(text, delimiter=",")
    images, labels = rows[:, :-1], rows[:, -1].astype(np.int64)
    pixels = np.round(images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    is_test = np.zeros(len(labels), dtype=bool)
    for digit in range(10):
        members = np.flatnonzero(labels == digit)
        is_test[members[-(len(members) // 5) :]] = True
    names = [str(digit) for digit in range(10)]
    return _source_of_arrays(names, pixels[~is_test], labels[~is_test], pixels[is_test], labels[is_test])


def _read_npz(path: Path) -> Source:
    wanted = ("x_train", "y_train", "x_test", "y_test")
    try:
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name]) for name in wanted if name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} cannot be read as an .npz file of arrays of numbers: {error}.") from error
    missing = [name for name in wanted if name not in arrays]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}; an .npz data set needs {', '.join(wanted)}.")
    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        has_pixels = x.ndim in (3, 4) and 0 not in x.shape[1:]
        if x.dtype != np.uint8 or not has_pixels or (x.ndim == 4 and x.shape[3] not in (1, 3)):
            raise UserError(
                f"x_{part} of {path} has shape {x.shape} of {x.dtype}; it must be uint8, (N, H, W) or (N, H, W, 3)."
            )
        if y.shape != x.shape[:1] or not np.issubdtype(y.dtype, np.integer):
            raise UserError(
                f"y_{part} of {path} must hold one integer label for each of the {len(x)} images of x_{part}."
            )
    labels = np.unique(arrays["y_train"])
    if unknown := sorted(set(np.unique(arrays["y_test"]).tolist()) - set(labels.tolist())):
        raise UserError(f"{path} has test images of class {unknown[0]}, which has no training image. Add some.")
    y_train, y_test = (np.searchsorted(labels, arrays[name]) for name in ("y_train", "y_test"))
    return _source_of_arrays([str(label) for label in labels], arrays["x_train"], y_train, arrays["x_test"], y_test)


def _source_of_arrays(
    classes: Sequence[str],
    x_train: NDArray[np.uint8],
    y_train: NDArray[np.integer[Any]],
    x_test: NDArray[np.uint8],
    y_test: NDArray[np.integer[Any]],
) -> Source:
    labels = np.concatenate([y_train, y_test]).astype(np.int64)

    def image(index: int) -> Image.Image:
        pixels = x_train[index] if index < len(x_train) else x_test[index - len(x_train)]
        return Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels)

    return Source(_hash_contents([x_train, x_test, labels]), tuple(classes), labels, len(x_train), image)


def _read_folder(path: Path) -> Source:
    train = path / "train"
    test = next((path / name for name in ("test", "val") if (path / name).is_dir()), None)
    if not train.is_dir() or test is None:
        lacks = "test/ or val/" if train.is_dir() else "train/"
        raise UserError(
            f"{path} has no {lacks} folder. It needs train/ and test/ (or val/), each with one folder for each class."
        )
    classes, test_classes = ([d.name for d in sorted(p.iterdir()) if _is_class_folder(d)] for p in (train, test))
    if unknown := sorted(set(test_classes) - set(classes)):
        raise UserError(f"{test} has a class {unknown[0]!r} that {train} does not have. Add training images of it.")
    numbers = {name: number for number, name in enumerate(classes)}
    labelled_files = [
        [(file, numbers[name]) for name in names for file in _image_files(folder / name)]
        for folder, names in ((train, classes), (test, test_classes))
    ]
    for folder, images in zip((train, test), labelled_files, strict=True):
        if not images:
            raise UserError(f"{folder} has no images. It needs one folder for each class, with .jpg or .png files.")
    files = [file for file, _ in labelled_files[0] + labelled_files[1]]

    def image(index: int) -> Image.Image:
        try:
            return Image.open(files[index]).convert("RGB")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise UserError(f"{files[index]} cannot be read as an image: {error}. Repair or remove it.") from error

    labels = np.array([label for _, label in labelled_files[0] + labelled_files[1]], dtype=np.int64)
    try:
        fingerprint = _hash_files(path, files)
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}. Repair or remove it.") from error
    return Source(fingerprint, tuple(classes), labels, len(labelled_files[0]), image)


def _image_files(folder: Path) -> list[str]:
    """Return the images in a folder and its sub-folders, in the order of `torchvision.datasets.ImageFolder`."""
    entries = sorted(os.walk(folder, followlinks=True))
    return [os.path.join(at, name) for at, _, names in entries for name in sorted(names) if _is_image(name)]


def _is_image(name: str) -> bool:
    return name.lower().endswith(_IMAGE_EXTENSIONS)


def _is_class_folder(entry: Path) -> bool:
    return entry.is_dir() and not entry.name.startswith(".")


def _read_torchvision_set(name: str, root: Path) -> Source:
    train, test = (read_torchvision(name, root, is_train) for is_train in (True, False))
    labels = np.concatenate([train.labels, test.labels])

    def image(index: int) -> Image.Image:
        return train.image(index) if index < len(train.labels) else test.image(index - len(train.labels))

    pixels = [part.pixels for part in (train, test) if part.pixels is not None]
    fingerprint = _hash_contents([name.encode(), *pixels, labels])
    return Source(fingerprint, train.classes, labels, len(train.labels), image)


def _hash_contents(contents: Iterable[bytes | NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for content in contents:
        if isinstance(content, np.ndarray):
            digest.update(repr((content.shape, content.dtype.str)).encode())
        digest.update(np.ascontiguousarray(content).data if isinstance(content, np.ndarray) else content)
    return digest.hexdigest()


def _hash_files(folder: Path, files: Iterable[str]) -> str:
    sized = [(Path(file).relative_to(folder).as_posix(), file, Path(file).stat().st_size) for file in files]
    digest = hashlib.sha256()
    hash_content = sum(size for _, _, size in sized) <= _HASHED_BYTES
    for name, file, size in sized:
        digest.update(f"{name}\0{size}\0".encode())
        if hash_content:
            digest.update(Path(file).read_bytes())
    return digest.hexdigest()
