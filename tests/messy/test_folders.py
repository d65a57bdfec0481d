"""Every layout with every mode, and every fault, gives the right images, the right line or the right refusal."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from raynas.data import DataSettings, PreparedData, open_images, prepare
from search_spaces.errors import UserError
from tests.messy.folders import LAYOUTS, LEVELS, MODES, grey, write_class_folders

FOLDERS = [name for name in LAYOUTS if name not in ("zip", "tar.gz", "csv", "parquet", "metadata.csv")]
CASES = [(layout, "grey PNG") for layout in LAYOUTS] + [
    (layout, mode) for layout, mode in product(("flat", "train, validation, test", "zip", "csv"), MODES)
]


def prepare_folder(path: Path, **changes: object) -> PreparedData:
    return prepare(DataSettings.model_validate({"name": "folder", "path": path, **changes}), 12, 0)


@pytest.mark.parametrize(("layout", "mode"), dict.fromkeys(CASES))
def test_every_layout_is_read_in_every_mode(layout: str, mode: str, tmp_path: Path) -> None:
    write, parts = LAYOUTS[layout]
    prepared = prepare_folder(write(tmp_path, mode))
    assert prepared.classes == tuple(LEVELS)
    assert tuple(prepared.counts[part] for part in ("train", "validation", "test")) == parts
    images = open_images(prepared)
    for label, level in enumerate(LEVELS.values()):
        pixels = images.pixels[images.labels == label]
        assert abs(float(np.median(pixels)) - level) <= 4, (layout, mode)
    assert f"{sum(parts)} images of 2 classes" in prepared.remarks[0]
    assert "12 x 20 pixels" in prepared.remarks[0]


def _truncate(folder: Path) -> None:
    file = next(folder.rglob("*.png"))
    file.write_bytes(file.read_bytes()[:40])


def _write_text(folder: Path) -> None:
    next(folder.rglob("*.png")).write_text("no image")


def _empty(folder: Path) -> None:
    next(folder.rglob("*.png")).write_bytes(b"")


UNREADABLE: dict[str, Callable[[Path], None]] = {"cut off": _truncate, "a text": _write_text, "no bytes": _empty}


@pytest.mark.parametrize(("layout", "fault"), list(product(FOLDERS, UNREADABLE)))
def test_an_image_that_cannot_be_read_is_named_or_skipped(layout: str, fault: str, tmp_path: Path) -> None:
    write, parts = LAYOUTS[layout]
    path = write(tmp_path, "grey PNG")
    shutil.rmtree(path / "test") if "without classes" in layout else None
    UNREADABLE[fault](path)
    with pytest.raises(
        UserError, match=r"^1 of \d+ images cannot be read: .*\.png \(.*\)\. Repair or remove them, or set"
    ):
        prepare_folder(path)
    prepared = prepare_folder(path, unreadable="skip")
    assert sum(prepared.counts.values()) == sum(parts) - 1
    assert any(remark.startswith(f"skipped 1 of {sum(parts)} images") for remark in prepared.remarks)
    assert len(open_images(prepared).pixels) == sum(parts) - 1


def test_all_images_that_cannot_be_read_are_counted_and_ten_are_named(tmp_path: Path) -> None:
    path = LAYOUTS["train, validation, test"][0](tmp_path, "grey PNG")
    for file in sorted(path.rglob("dark/*.png")):
        file.write_text("no image")
    with pytest.raises(UserError) as error:
        prepare_folder(path)
    assert str(error.value).startswith("15 of 30 images cannot be read: ")
    assert str(error.value).count(".png (") == 10
    assert " and 5 more. " in str(error.value)


def _hide(folder: Path) -> None:
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (folder / name).write_bytes(b"x")
    for name in ("__MACOSX", ".ipynb_checkpoints", ".git"):
        write_class_folders(folder / name, first=50)


@pytest.mark.parametrize("layout", FOLDERS)
def test_files_of_operating_systems_are_no_images(layout: str, tmp_path: Path) -> None:
    write, parts = LAYOUTS[layout]
    path = write(tmp_path, "grey PNG")
    for folder in [path, *(each for each in path.rglob("*") if each.is_dir())]:
        _hide(folder)
    prepared = prepare_folder(path)
    assert sum(prepared.counts.values()) == sum(parts)
    assert not any("no images" in remark for remark in prepared.remarks)


@pytest.mark.parametrize("layout", ["flat", "train, test"])
def test_other_files_are_counted(layout: str, tmp_path: Path) -> None:
    path = LAYOUTS[layout][0](tmp_path, "grey PNG")
    for folder in path.rglob("dark"):
        (folder / "notes.txt").write_text("x")
        (folder / "LICENSE").write_text("x")
    count = 2 * len(list(path.rglob("dark")))
    assert any(
        remark.startswith(f"left out {count} files that are no images: ") for remark in prepare_folder(path).remarks
    )


@pytest.mark.parametrize("layout", FOLDERS)
def test_a_loop_of_links_is_followed_once(layout: str, tmp_path: Path) -> None:
    write, parts = LAYOUTS[layout]
    path = write(tmp_path, "grey PNG")
    for folder in list(path.rglob("dark")):
        (folder / "again").symlink_to(folder)
        (folder / "up").symlink_to(path / "nowhere")
    assert sum(prepare_folder(path).counts.values()) == sum(parts)


def test_an_image_in_both_parts_is_a_leak(tmp_path: Path) -> None:
    path = LAYOUTS["train, test"][0](tmp_path, "grey PNG")
    shutil.copy(path / "train/dark/0.png", path / "test/dark/copy.png")
    Image.open(path / "train/light/1.png").save(path / "test/light/same pixels.bmp")
    remarks = prepare_folder(path).remarks
    assert any("2 images in the training and in the test part" in remark for remark in remarks)


def test_an_image_with_two_classes_is_counted(tmp_path: Path) -> None:
    path = LAYOUTS["train, test"][0](tmp_path, "grey PNG")
    shutil.copy(path / "train/dark/0.png", path / "train/light/copy.png")
    assert any("1 image with two classes" in remark for remark in prepare_folder(path).remarks)


def test_small_and_large_classes_and_classes_without_test_images_are_named(tmp_path: Path) -> None:
    path = LAYOUTS["train, test"][0](tmp_path, "grey PNG")
    for number in range(60, 90):
        grey(200, number).save(path / f"train/light/{number}.png")
    shutil.rmtree(path / "test/dark")
    text = "\n".join(prepare_folder(path).remarks)
    assert "1 class has no test images: the test accuracy says nothing about dark" in text
    assert "1 class has fewer than 20 training images: dark (5)" in text
    assert "88 % of the training images are of the class light" in text


def test_photos_stand_upright(tmp_path: Path) -> None:
    pixels = np.zeros((12, 12, 3), dtype=np.uint8)
    pixels[:6] = 255  # white above
    for name in ("a", "b"):
        for part in ("train", "test"):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(5):
                exif = Image.Exif()
                exif[0x0112] = 6  # the camera was turned: show it turned by 90 degrees to the right
                marked = pixels.copy()
                marked[0, number] = 200 if name == "a" else 180
                Image.fromarray(np.rot90(marked)).save(tmp_path / part / name / f"{number}.jpg", exif=exif, quality=95)
    shown = open_images(prepare_folder(tmp_path)).pixels.astype(int)
    assert shown[:, :5].mean() > 240
    assert shown[:, 7:].mean() < 15


@pytest.mark.parametrize(("background", "expected"), [("white", 255), ("black", 0), ("#808080", 128)])
def test_transparent_pixels_get_the_background(background: str, expected: int, tmp_path: Path) -> None:
    for name, level in LEVELS.items():
        for part in ("train", "test"):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(5):
                image = grey(level, number + (20 if part == "test" else 0)).convert("RGBA")
                image.putalpha(0)
                image.save(tmp_path / part / name / f"{number}.png")
    pixels = open_images(prepare_folder(tmp_path, background=background)).pixels
    assert (pixels == expected).all()


def test_grey_values_beyond_a_byte_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    """A ramp over 16 bits keeps its order: today's readers make it white."""
    ramp = (np.arange(144).reshape(12, 12) * 455).astype(np.uint16)
    for name in ("a", "b"):
        for part in ("train", "test"):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(5):
                marked = ramp.copy()
                marked[0, 0] = number + 10 * (name == "b") + 20 * (part == "test")
                Image.fromarray(marked).save(tmp_path / part / name / f"{number}.png")
    pixels = open_images(prepare_folder(tmp_path)).pixels[0, :, :, 0].astype(int).ravel()
    assert (np.diff(pixels) >= 1).all()
    assert abs(pixels[1:] - ramp.ravel()[1:] / 257).max() <= 1


@pytest.mark.parametrize(
    ("name", "message"),
    [("../outside.png", "points outside of the archive"), ("/etc/x.png", "points outside of the archive")],
)
@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_an_archive_that_points_outside_is_refused(name: str, message: str, suffix: str, tmp_path: Path) -> None:
    file, picture = tmp_path / f"images{suffix}", tmp_path / "x.png"
    grey(60, 0).save(picture)
    if suffix == ".zip":
        with zipfile.ZipFile(file, "w") as zipped:
            zipped.write(picture, "whole.png")
            zipped.writestr(zipfile.ZipInfo(name), picture.read_bytes())
    else:
        with tarfile.open(file, "w") as tarred:
            info = tarfile.TarInfo(name)
            info.size = picture.stat().st_size
            with picture.open("rb") as content:
                tarred.addfile(info, content)
    with pytest.raises(UserError, match=message):
        prepare_folder(file)
    assert not (tmp_path.parent / "outside.png").exists()


def test_links_in_an_archive_are_refused(tmp_path: Path) -> None:
    os.symlink("/etc/passwd", tmp_path / "link.png")
    with tarfile.open(tmp_path / "images.tar", "w") as tarred:
        tarred.add(tmp_path / "link.png", "a/link.png")
    with pytest.raises(UserError, match="a link or device"):
        prepare_folder(tmp_path / "images.tar")


def test_an_archive_that_grows_without_measure_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        for number in range(40):
            zipped.writestr(f"a/{number}.png", b"\0" * (8 << 20))
    with pytest.raises(UserError, match=r"would unpack to over .* GiB"):
        prepare_folder(tmp_path / "bomb.zip")


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_a_damaged_archive_is_refused(suffix: str, tmp_path: Path) -> None:
    file = LAYOUTS[suffix[1:]][0](tmp_path, "grey PNG")
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(UserError, match="cannot be unpacked"):
        prepare_folder(file)


@pytest.mark.parametrize(("offset", "value", "message"), [(10, 99, "compression"), (8, 1, "encrypted")])
def test_an_archive_that_python_cannot_unpack_is_refused(offset: int, value: int, message: str, tmp_path: Path) -> None:
    """A zip of an unknown compression, and an encrypted one: the field in the directory and before the file differs."""
    file = LAYOUTS["zip"][0](tmp_path, "grey PNG")
    content = bytearray(file.read_bytes())
    for signature, shift in ((b"PK\x01\x02", 0), (b"PK\x03\x04", -2)):
        place = content.find(signature)
        while place >= 0:
            content[place + offset + shift] = value
            place = content.find(signature, place + 4)
    file.write_bytes(content)
    with pytest.raises(UserError, match=f"cannot be unpacked: .*{message}"):
        prepare_folder(file)


def test_boxes_are_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "coco/annotations").mkdir(parents=True)
    (tmp_path / "coco/annotations/instances_train.json").write_text("{}")
    (tmp_path / "yolo/images").mkdir(parents=True)
    (tmp_path / "yolo/labels").mkdir()
    for name, kind in (("coco", "COCO's annotations"), ("yolo", "YOLO's labels")):
        with pytest.raises(UserError, match=f"holds {kind}: boxes of objects"):
            prepare_folder(tmp_path / name)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("file,label\nabsent.png,a\n", "lists 1 file that cannot be found: .*absent.png"),
        ("name,label\n1.png,a\n", "has the columns name, label; it needs a column file"),
        ("file,label\n1.png,\n", "Row 1 of .* lacks its file or label"),
        ("file,label,split\n1.png,a,hold-out\n", "Row 1 of .* has the part 'hold-out'"),
        ("file,label,split\n1.png,a,test\n", "lists no training image"),
        ("file,label,split\n1.png,a,train\n1.png,b,test\n", "has a class 'b' without training images"),
        ("", "cannot be read as a table"),
    ],
)
def test_a_table_of_files_is_checked(rows: str, message: str, tmp_path: Path) -> None:
    grey(60, 0).save(tmp_path / "1.png")
    (tmp_path / "images.csv").write_text(rows)
    with pytest.raises(UserError, match=message):
        prepare_folder(tmp_path / "images.csv")


READ_WITHOUT_RIGHTS = """
import os, sys
from pathlib import Path
from raynas.data.folders import read_folder
from search_spaces.errors import UserError

if os.geteuid() == 0:
    os.seteuid(65534)  # root may read everything
try:
    read_folder(Path(sys.argv[1]))
except UserError as error:
    print(error)
"""


@pytest.mark.parametrize("locked", ["", "train", "train/light"])
def test_a_folder_without_permission_is_named(locked: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:  # everybody may enter it, unlike pytest's folders
        Path(scratch).chmod(0o755)
        path = LAYOUTS["train, validation, test"][0](Path(scratch), "grey PNG")
        (path / locked).chmod(0)
        command = [sys.executable, "-c", READ_WITHOUT_RIGHTS, str(path)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        (path / locked).chmod(0o755)
    assert said == f"{path / locked} cannot be read: Permission denied. Change its permissions.\n"
