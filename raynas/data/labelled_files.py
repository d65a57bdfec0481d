"""The image files of a data set, each with its class and its part. `folders` and `listed_files` find them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from search_spaces.errors import UserError

Part = Literal["train", "validation", "test"]

PARTS: Mapping[str, Part] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval"), "test"),
}
"""What a folder or a value of a column says about the part, in lower case."""

EXTENSIONS = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".dib", ".gif", ".webp"),
        *(".avif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".tga", ".jp2"),
        *(".j2k", ".jpx", ".mpo", ".ico", ".icns", ".psd", ".qoi", ".sgi", ".pcx", ".dds"),
    }
)
"""The extensions of the still images that Pillow reads by itself."""
MOST_FOLDERS = 20_000
_NO_IMAGES = ("__macosx", "thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class LabelledFiles:
    """Image files with their classes.

    Attributes:
        root: the folder of the data set. Files have paths below it, or absolute ones.
        classes: the names of all classes; a label is an index into them.
        files: the files of each part, each with its label. A part may be missing.
        remarks: sentences for people: what was left out, and why.
    """

    root: Path
    classes: tuple[str, ...]
    files: Mapping[Part, Sequence[tuple[str, int]]]
    remarks: tuple[str, ...] = ()


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is not a part of any data set: hidden, or made by an operating system."""
    return name.startswith(".") or name.lower() in _NO_IMAGES


def is_image(name: str) -> bool:
    """Return whether the extension of a file is that of an image."""
    return os.path.splitext(name)[1].lower() in EXTENSIONS


def list_folder(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the folders and the files in a folder, without hidden ones, in alphabetical order.

    Raises:
        UserError: if the folder cannot be read.
    """
    try:
        entries = sorted(entry for entry in folder.iterdir() if not is_hidden(entry.name))
        # A link to nothing counts as a file, so that it is named as one that cannot be read.
        files = [entry for entry in entries if entry.is_file() or (entry.is_symlink() and not entry.exists())]
        return [entry for entry in entries if entry.is_dir()], files
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}. Change its permissions.") from error


def walk(folder: Path) -> tuple[list[str], Counter[str]]:
    """Return the images in a folder and its sub-folders, and how many other files have each extension.

    A folder that several links reach counts once, so that a loop of links ends.

    Raises:
        UserError: if a folder cannot be read, or has more folders below it than any data set.
    """
    images: list[str] = []
    others: Counter[str] = Counter()
    seen: set[str] = set()
    waiting = [folder]
    while waiting:
        here = waiting.pop(0)
        if (real := os.path.realpath(here)) in seen:
            continue
        seen.add(real)
        if len(seen) > MOST_FOLDERS:
            raise UserError(f"{folder} has over {MOST_FOLDERS:,} folders. Give the folder of the images alone.")
        folders, files = list_folder(here)
        waiting = folders + waiting
        for file in files:
            if is_image(file.name):
                images.append(str(file))
            else:
                others[file.suffix.lower() or file.name] += 1
    return images, others


def describe_others(others: Counter[str]) -> tuple[str, ...]:
    """Return a remark on the files that are no images; none if there are none."""
    if not others:
        return ()
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in others.most_common(5))
    number = sum(others.values())
    named = "1 file that is no image" if number == 1 else f"{number:,} files that are no images"
    return (f"left out {named}: {kinds}",)
