"""Folders of images: with or without parts, one folder for each class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from raynas.data.labelled_files import PARTS, LabelledFiles, Part, describe_others, list_folder, walk
from search_spaces.errors import UserError

_SHAPE = "Put the images of each class into a folder of its own, such as cat/ and dog/, or train/cat/ and test/cat/"


def read_folder(path: Path) -> LabelledFiles:
    """Return the images of a folder.

    - `train/`, `val/` (or `valid/`, `validation/`) and `test/`, in any case: val/ is held out for the search.
    - `train/` and one of the others: the other is the test set, as is val/ beside a test/ without classes.
    - `train/` alone, or class folders alone: the test set is still to be drawn.

    Raises:
        UserError: if the folder has another layout, a part has a class that train/ has not, or there are no images.
    """
    _refuse_detection(path)
    folders, _ = list_folder(path)
    parts = _find_parts(path, folders)
    if not parts:
        return _with_classes(path, {"train": path}, ())
    if "train" not in parts:
        named = ", ".join(f"{folder.name}/" for folder in parts.values())
        raise UserError(f"{path} has {named} but no train/. Put the training images into train/.")
    remarks: list[str] = []
    test = parts.get("test")
    if test is not None and not _class_folders(test):
        del parts["test"]
        remarks.append(f"{test.name}/ has no class folders, so its images are not used")
    if "test" not in parts and "validation" in parts:
        parts["test"] = parts.pop("validation")
        remarks.append(f"there is no test/ with classes: the images in {parts['test'].name}/ are the test images")
    return _with_classes(path, parts, remarks)


def _find_parts(path: Path, folders: Sequence[Path]) -> dict[Part, Path]:
    parts: dict[Part, Path] = {}
    for folder in folders:
        part = PARTS.get(folder.name.lower())
        if part is None:
            continue
        if part in parts:
            raise UserError(
                f"{path} has {parts[part].name}/ and {folder.name}/, two names of one part. Put all images "
                "into one of them."
            )
        parts[part] = folder
    return parts if "train" in parts or len(parts) == len(folders) else {}


def _class_folders(folder: Path) -> list[Path]:
    return [each for each in list_folder(folder)[0] if walk(each)[0]]


def _with_classes(root: Path, parts: dict[Part, Path], remarks: Sequence[str]) -> LabelledFiles:
    """Return the images of the parts, whose folders are the classes."""
    images: dict[Part, dict[str, list[str]]] = {}
    others: Counter[str] = Counter()
    empty: list[str] = []
    for part, folder in parts.items():
        images[part] = {}
        for class_folder in list_folder(folder)[0]:
            found, left_out = walk(class_folder)
            others += left_out
            if found or (part == "train" and folder != root):
                images[part][class_folder.name] = found
            elif not found:
                empty.append(f"{class_folder.name}/")
        if not any(images[part].values()):
            raise UserError(f"{folder} has no class folders with images. {_SHAPE}.")
    classes = tuple(sorted(images["train"]))
    for part, folder in parts.items():
        if unknown := sorted(set(images[part]) - set(classes)):
            raise UserError(
                f"{folder} has a class {unknown[0]!r} that {parts['train']} does not have. Add training images of it."
            )
    numbers = {name: number for number, name in enumerate(classes)}
    files = {
        part: [(file, numbers[name]) for name in sorted(of_part) for file in of_part[name]]
        for part, of_part in images.items()
    }
    if empty:
        remarks = [*remarks, f"left out folders without images: {', '.join(empty[:5])}"]
    return LabelledFiles(root, classes, files, (*remarks, *describe_others(others)))


def _refuse_detection(path: Path) -> None:
    """Raises UserError for the layouts of COCO and YOLO, which hold boxes and not classes of images."""
    folders, files = list_folder(path)
    names = {folder.name.lower(): folder for folder in folders}
    has_boxes = any(file.suffix == ".json" and "instances" in file.name for file in files)
    if "annotations" in names and any(file.suffix == ".json" for file in list_folder(names["annotations"])[1]):
        has_boxes = True
    if has_boxes:
        kind = "COCO's annotations"
    elif {"images", "labels"} <= names.keys() or any(file.name in ("data.yaml", "dataset.yaml") for file in files):
        kind = "YOLO's labels"
    else:
        return
    raise UserError(
        f"{path} holds {kind}: boxes of objects. raynas learns one class for each image: cut the objects out into one "
        "folder for each class, or list files and classes in a CSV."
    )
