"""Write folders of images as people have them: a layout, a mode of the files, and a fault."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

LEVELS = {"dark": 60, "light": 200}
"""The grey of the images of each class; red, green and blue are equal."""
EACH = 5
"""Images of each class and part."""
WIDTH, HEIGHT = 20, 12


def grey(level: int, number: int) -> Image.Image:
    """Return an image of one grey, but for a pixel whose place is the number of the image."""
    pixels = np.full((HEIGHT, WIDTH), level, dtype=np.uint8)
    pixels[number // WIDTH, number % WIDTH] = 255 - level
    return Image.fromarray(pixels)


def _save_16_bit(image: Image.Image, file: Path) -> None:
    Image.fromarray(np.asarray(image).astype(np.uint16) * 257).save(file)


def _save_32_bit(image: Image.Image, file: Path) -> None:
    Image.fromarray(np.asarray(image).astype(np.int32) * 257).save(file)


def _save_floats(image: Image.Image, file: Path) -> None:
    Image.fromarray(np.asarray(image).astype(np.float32) / 255).save(file)


def _save_as(mode: str, **options: Any) -> Callable[[Image.Image, Path], None]:
    return lambda image, file: image.convert(mode).save(file, **options)


MODES: dict[str, tuple[str, Callable[[Image.Image, Path], None]]] = {
    "grey PNG": (".png", _save_as("L")),
    "colour PNG": (".PNG", _save_as("RGB")),
    "PNG with alpha": (".png", _save_as("RGBA")),
    "grey PNG with alpha": (".png", _save_as("LA")),
    "PNG with a palette": (".png", _save_as("P")),
    "PNG of 16 bits": (".png", _save_16_bit),
    "TIFF of 16 bits": (".tif", _save_16_bit),
    "TIFF of 32 bits": (".tiff", _save_32_bit),
    "TIFF of floats": (".tiff", _save_floats),
    "TIFF in CMYK": (".tif", _save_as("CMYK")),
    "JPEG": (".JPG", _save_as("RGB", quality=95)),
    "grey JPEG": (".jpeg", _save_as("L", quality=95)),
    "JPEG in CMYK": (".jpg", _save_as("CMYK", quality=95)),
    "JFIF": (".jfif", lambda image, file: image.save(file, format="JPEG", quality=95)),
    "GIF": (".gif", _save_as("L")),
    "WebP": (".webp", _save_as("RGB", lossless=True)),
    "AVIF": (".avif", _save_as("RGB", quality=95)),
    "BMP": (".bmp", _save_as("RGB")),
    "PPM": (".ppm", _save_as("RGB")),
}
"""For each mode the extension, and how to write the file."""


def write_class_folders(root: Path, mode: str = "grey PNG", first: int = 0) -> None:
    """Write a folder for each class, with images that no other call with another `first` writes."""
    extension, save = MODES[mode]
    for name, level in LEVELS.items():
        (root / name).mkdir(parents=True)
        for number in range(EACH):
            save(grey(level, first + number), root / name / f"{first + number}{extension}")


def _write_parts(*parts: str) -> Callable[[Path, str], Path]:
    def write(root: Path, mode: str) -> Path:
        for number, part in enumerate(parts):
            write_class_folders(root / part, mode, first=20 * number)
        return root

    return write


def _write_flat(root: Path, mode: str) -> Path:
    write_class_folders(root, mode)
    return root


def _write_unlabelled_test(root: Path, mode: str) -> Path:
    _write_parts("train", "val")(root, mode)
    (root / "test").mkdir()
    grey(60, 99).save(root / "test/unknown.png")
    return root


def _write_archive(suffix: str) -> Callable[[Path, str], Path]:
    def write(root: Path, mode: str) -> Path:
        _write_parts("photos/train", "photos/test")(root / "content", mode)
        file = root / f"images{suffix}"
        if suffix == ".zip":
            with zipfile.ZipFile(file, "w") as archive:
                for each in sorted((root / "content").rglob("*")):
                    archive.write(each, each.relative_to(root / "content"))
        else:
            with tarfile.open(file, "w:gz") as tarred:
                tarred.add(root / "content/photos", "photos")
        shutil.rmtree(root / "content")
        return file

    return write


def _write_table(suffix: str) -> Callable[[Path, str], Path]:
    def write(root: Path, mode: str) -> Path:
        _write_parts("a", "b")(root, mode)
        rows = [
            {
                "File": str(file.relative_to(root)),
                "Label": file.parent.name,
                "Split": "Train" if part == "a" else "test",
            }
            for part in ("a", "b")
            for file in sorted((root / part).rglob("*.*"))
        ]
        table, file = pd.DataFrame(rows), root / f"images{suffix}"
        table.to_parquet(file) if suffix == ".parquet" else table.to_csv(file, index=False)
        return file

    return write


def _write_metadata(root: Path, mode: str) -> Path:
    """Write an image folder of Hugging Face: files and metadata.csv in each part."""
    for number, part in enumerate(("train", "test")):
        write_class_folders(root / "of-classes", mode, first=20 * number)
        rows = []
        (root / part).mkdir()
        for file in sorted((root / "of-classes").rglob("*.*")):
            name = f"{file.parent.name}-{file.name}"
            file.rename(root / part / name)
            rows.append({"file_name": name, "label": name.partition("-")[0]})
        pd.DataFrame(rows).to_csv(root / part / "metadata.csv", index=False)
        shutil.rmtree(root / "of-classes")
    return root


LAYOUTS: dict[str, tuple[Callable[[Path, str], Path], tuple[int, int, int]]] = {
    "flat": (_write_flat, (6, 2, 2)),
    "train alone": (_write_parts("train"), (6, 2, 2)),
    "train, test": (_write_parts("train", "test"), (8, 2, 10)),
    "Train, TEST": (_write_parts("Train", "TEST"), (8, 2, 10)),
    "train, val": (_write_parts("train", "val"), (8, 2, 10)),
    "train, validation, test": (_write_parts("train", "validation", "test"), (10, 10, 10)),
    "training, valid, testing": (_write_parts("training", "valid", "testing"), (10, 10, 10)),
    "train, val, test without classes": (_write_unlabelled_test, (8, 2, 10)),
    "zip": (_write_archive(".zip"), (8, 2, 10)),
    "tar.gz": (_write_archive(".tar.gz"), (8, 2, 10)),
    "csv": (_write_table(".csv"), (8, 2, 10)),
    "parquet": (_write_table(".parquet"), (8, 2, 10)),
    "metadata.csv": (_write_metadata, (8, 2, 10)),
}
"""For each layout how to write it, and the images for training, held out and for the test, at shares of a fifth."""
