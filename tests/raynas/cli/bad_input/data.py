"""Images that cannot be read, or that do not fit the recipe."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.raynas.cli.bad_input.case import Case, Malicious, Setup, changed, file, images, several

_FOLDER = ["data.name=folder", "data.path=images", "training.batch_size=4"]
_NPZ = ["data.name=npz", "data.path=images.npz", "training.batch_size=4"]
_LABELS = np.arange(40) % 4
_GOOD: dict[str, Any] = {
    "x_train": np.zeros((40, 16, 16), np.uint8),
    "y_train": _LABELS,
    "x_test": np.zeros((8, 16, 16), np.uint8),
    "y_test": _LABELS[:8],
}


def _of_digits(fault: str, change: str, *parts: str) -> Case:
    return changed(fault, f"data.{change}", *parts)


def _of_folder(fault: str, part: str, *setups: Setup) -> Case:
    return changed(fault, _FOLDER, part, setup=several(*setups))


def _of_npz(fault: str, part: str, setup: Setup) -> Case:
    return changed(fault, _NPZ, part, setup=setup)


def _arrays(**others: Any) -> Setup:
    return lambda folder: np.savez(folder / "images.npz", **{**_GOOD, **others})


def _npy(folder: Path) -> None:
    np.save(folder / "images.npy", _GOOD["x_train"])
    (folder / "images.npy").rename(folder / "images.npz")


def _text_for_arrays(folder: Path) -> None:
    with zipfile.ZipFile(folder / "images.npz", "w") as archive:
        for name in _GOOD:
            archive.writestr(f"{name}.npy", "no array")


def _cut_short(name: str) -> Setup:
    def cut(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return cut


def _huge(folder: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(folder / "images" / "train" / "cat" / "z.png")


def _jpeg(folder: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "images" / "train" / "cat" / "z.jpg")


SETTINGS = [
    _of_digits("an unknown data set", "name=digit", "'digit'", "'digits'"),
    _of_digits("an unknown set of torchvision", "name=CIFAR11", "'CIFAR11'", "'CIFAR10'"),
    changed("a set that is not there", ["data.name=ImageNet", "data.path=x"], "ImageNet is not at", "set data.path"),
    _of_digits("no path for a folder", "name=folder", "the data set 'folder' needs a path"),
    _of_digits("a path for the digits", "path=x", "takes no path"),
    _of_digits("no classes", "classes=0", "a count of at least 2"),
    _of_digits("one class", "classes=1", "a count of at least 2"),
    _of_digits("more classes than there are", "classes=11", "11 classes", "10"),
    _of_digits("true for a number of classes", "classes=true", "a count of at least 2"),
    _of_digits("an unknown class", "classes=[1, twelve]", "'twelve', which the data set does not have"),
    _of_digits("a class beyond the last", "classes=[1, 10]", "has classes 0 to 9"),
    _of_digits("a class twice", "classes=[3, 3]", "lists only the class '3'"),
    _of_digits("none of the images", "fraction=0", "greater than 0"),
    _of_digits("more than all images", "fraction=1.5", "at most 1"),
    _of_digits("not a number of images", "fraction=.nan", "fraction = nan"),
    _of_digits("nothing to validate with", "validation=0", "a share between 0 and 1"),
    _of_digits("nothing to train with", "validation=1.0", "a share between 0 and 1"),
    _of_digits("more to validate with than there is", "validation=1000", "without a training image"),
    _of_digits("too small a share to validate with", "validation=0.0001", "without a validation image"),
    _of_digits("an unknown augmentation", "augment=flip", "'crop-flip'"),
]

FOLDERS = [
    _of_folder("nothing at the path", "a folder that exists"),
    _of_folder("a file for a folder", "images is a file. Give a folder", file("images", "no folder")),
    _of_folder("no train/", "has val/ but no train/", images("cat", "dog", parts=("val",))),
    _of_folder("too few to draw a test set", "without a test image", images("cat", "dog", parts=("train",), each=1)),
    _of_folder("no image at all", "has no class folders with images", images("cat", "dog", each=0)),
    _of_folder("one class of images", "has only one class, 'cat'", images("cat")),
    _of_folder("a class without images", "'bird' has no training image", images("bird", each=0), images("cat", "dog")),
    _of_folder(
        "a class to test alone",
        "has a class 'bird' that",
        *(images("cat", "dog"), images("bird", parts=("val",))),
    ),
    _of_folder("one image a class", "without a validation image", images("cat", "dog", each=1)),
    _of_folder(
        "a text named .jpg",
        "1 of 41 images cannot be read",
        *(images("cat", "dog"), file("images/train/cat/z.jpg", "no image")),
    ),
    _of_folder(
        "an image of no bytes",
        "1 of 41 images cannot be read",
        *(images("cat", "dog"), file("images/val/cat/z.png", "")),
    ),
    _of_folder(
        "a JPEG cut short", "image file is truncated", images("cat", "dog"), _jpeg, _cut_short("images/train/cat/z.jpg")
    ),
    _of_folder(
        "a PNG cut short",
        "train/cat/1.png (image file is truncated",
        *(images("cat", "dog"), _cut_short("images/train/cat/1.png")),
    ),
    _of_folder(
        "an image that would fill the memory",
        "could be decompression bomb",
        *(images("cat", "dog"), _huge),
    ),
    _of_folder(
        "a link to nothing",
        "train/cat/z.png (No such file",
        *(images("cat", "dog"), lambda folder: os.symlink("nowhere", folder / "images" / "train" / "cat" / "z.png")),
    ),
]

ARRAYS = [
    _of_npz("no .npz there", "an .npz file that exists", lambda folder: None),
    _of_npz("a text named .npz", "cannot be read as an .npz file", file("images.npz", "no arrays")),
    _of_npz("an .npz of no bytes", "cannot be read as an .npz file", file("images.npz", "")),
    _of_npz("an .npz cut short", "cannot be read as an .npz file", several(_arrays(), _cut_short("images.npz"))),
    _of_npz("a single array", "cannot be read as an .npz file", _npy),
    _of_npz("texts for arrays", "x_train of images.npz has shape ()", _text_for_arrays),
    _of_npz("a pickle to execute", "cannot be read as an .npz file", file("images.npz", pickle.dumps(Malicious()))),
    _of_npz(
        "objects to execute",
        "Object arrays cannot be loaded",
        _arrays(x_train=np.array([Malicious()] * 40, dtype=object)),
    ),
    _of_npz("no arrays", "lacks x_train, y_train", lambda folder: np.savez(folder / "images.npz")),
    _of_npz("flat images", "has shape (40, 256)", _arrays(x_train=np.zeros((40, 256), np.uint8))),
    _of_npz("channels first", "has shape (40, 3, 16, 16)", _arrays(x_train=np.zeros((40, 3, 16, 16), np.uint8))),
    _of_npz("images of no pixels", "has shape (40, 0, 0)", _arrays(x_train=np.zeros((40, 0, 0), np.uint8))),
    _of_npz("images of floats", "of float64", _arrays(x_train=np.zeros((40, 16, 16)))),
    _of_npz("labels of floats", "must hold one integer label for each", _arrays(y_train=_LABELS.astype(float))),
    _of_npz("fewer labels than images", "must hold one integer label for each", _arrays(y_train=_LABELS[:8])),
    _of_npz("one class of arrays", "has only one class, '0'", _arrays(y_train=0 * _LABELS, y_test=0 * _LABELS[:8])),
    _of_npz("a negative class to test alone", "test images of class -1", _arrays(y_test=_LABELS[:8] - 1)),
]
