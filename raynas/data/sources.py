"""The sources of images: bundled digits, image files, .npz files and torchvision. A source decodes images on demand."""

from __future__ import annotations

import gzip
import hashlib
import os
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from raynas.data.archives import is_archive, unpack
from raynas.data.cache import cache_root
from raynas.data.decoding import UNREADABLE, describe_reason
from raynas.data.fingerprints import fingerprint_files
from raynas.data.folders import read_folder
from raynas.data.listed_files import TABLES, find_metadata, read_listed
from raynas.data.settings import DataSettings
from raynas.data.splits import TEST, Selection, draw_by_class
from raynas.data.torchvision_sets import read_torchvision
from search_spaces.errors import UserError

_DIGITS_FILE = "sklearn/datasets/data/digits.csv.gz"
"""The file that `sklearn.datasets.load_digits` reads; importing sklearn for it would take a second."""


@dataclass(frozen=True)
class Source:
    """A data set: training images, then test images, numbered from 0 to N - 1.

    Attributes:
        fingerprint: SHA-256 of the content. The path does not change it.
        classes: the names of all classes; a label is an index into them.
        labels: shape (N,): the labels of the `train_count` training images, then of the test images.
        image: decodes one image by its number; raises UnreadableImage if it cannot be decoded.
        held_out: the training images that the data set itself holds out for the search; empty if it holds out none.
        remarks: sentences for people, on what was found and what was left out.
    """

    fingerprint: str
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    train_count: int
    image: Callable[[int], Image.Image]
    held_out: frozenset[int] = frozenset()
    remarks: tuple[str, ...] = ()

    def number(self, selection: Selection, row: int) -> int:
        """Return the number of the image in a row of a selection."""
        return int(selection.indices[row]) + (0 if row < selection.train_count else self.train_count)


class UnreadableImage(Exception):
    """An image file that cannot be decoded."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(f"{file} ({reason})")


def read_source(settings: DataSettings, seed: int) -> Source:
    """Read a data set with all its classes. If it has no test images, the seed draws them from each class.

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
        source = _read_files(settings.path) if settings.name == "folder" else _read_npz(settings.path)
        if len(source.classes) < 2:
            raise UserError(
                f"{settings.path} has only one class, {source.classes[0]!r}; a network needs at least two. "
                "Add images of another class."
            )
        return source if source.train_count < len(source.labels) else _draw_test(source, settings.test, seed)
    return _read_torchvision_set(settings.name, settings.path or cache_root() / "torchvision")


def _draw_test(source: Source, amount: int | float, seed: int) -> Source:
    """Return the source with test images out of its training images."""
    held_out, rest = draw_by_class(source.labels, source.classes, amount, [seed, TEST], "data.test", "test")
    order = np.concatenate([rest, held_out])
    digest = hashlib.sha256(f"{source.fingerprint} {amount} {seed}".encode())
    share = f"{amount:,}" if isinstance(amount, int) else f"{100 * amount:g} %"
    remark = (
        f"there are no test images: {share} of each class, drawn with seed {seed}, are kept for the test (data.test)"
    )
    return replace(
        source,
        fingerprint=digest.hexdigest(),
        labels=source.labels[order],
        train_count=len(rest),
        image=lambda index: source.image(int(order[index])),
        remarks=(*source.remarks, remark),
    )


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
        raise UserError(
            f"{path} cannot be read as an .npz file of arrays of numbers: {error}. Write it again with numpy.savez."
        ) from error
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
            raise UserError(f"y_{part} of {path} must hold one integer label for each image of x_{part} ({len(x):,}).")
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


def _read_files(path: Path) -> Source:
    """Read a folder of images, an archive of one, or a table of image files."""
    if path.is_file() and is_archive(path):
        path = unpack(path)
    if path.is_file():
        if path.suffix not in TABLES:
            raise UserError(f"{path} is a file. Give a folder, a .zip or .tar of one, or a .csv or .parquet of files.")
        found = read_listed([path], path.parent)
    elif tables := find_metadata(path):
        found = read_listed(tables, path)
    else:
        found = read_folder(path)
    # The images that the data set holds out for the search are training images, after the others.
    own = found.files.get("validation", ())
    train, test = [*found.files["train"], *own], found.files.get("test", ())
    files = [file for file, _ in (*train, *test)]

    def image(index: int) -> Image.Image:
        try:
            opened = Image.open(files[index])
            opened.load()
        except UNREADABLE as error:
            raise UnreadableImage(files[index], describe_reason(error)) from error
        return opened

    return Source(
        fingerprint_files(found.root, files),
        found.classes,
        np.array([label for _, label in (*train, *test)], dtype=np.int64),
        len(train),
        image,
        frozenset(range(len(train) - len(own), len(train))),
        found.remarks,
    )


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
