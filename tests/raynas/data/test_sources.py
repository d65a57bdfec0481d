"""Test each kind of data set on files that the tests write, and the errors of wrong files."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from torchvision.datasets import ImageFolder

from raynas.data import DataSettings, PreparedData, open_images, prepare
from raynas.data.sources import UnreadableImage, read_source
from search_spaces.errors import UserError


def digit_pixels() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    images, labels = load_digits(return_X_y=True)
    return np.round(images.reshape(-1, 8, 8) * 255 / 16).astype(np.uint8), labels


def write_folder(root: Path, test: str = "test", images: int = 6) -> Path:
    """Write wide grey images of two classes, `dark` and `light`. The middle square and the sides differ in grey."""
    for part, count in (("train", images), (test, 2)):
        for name, level in (("dark", 10), ("light", 200)):
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                picture = np.full((12, 20), 100, dtype=np.uint8)
                picture[:, 4:16] = level + number
                Image.fromarray(picture).save(root / part / name / f"{number}.png")
    return root


def write_npz(path: Path, **changes: Any) -> Path:
    pixels, labels = digit_pixels()
    arrays = {"x_train": pixels[:200], "y_train": labels[:200], "x_test": pixels[200:260], "y_test": labels[200:260]}
    kept: dict[str, Any] = {name: array for name, array in (arrays | changes).items() if array is not None}
    np.savez(path, **kept)
    return path


def settings(kind: str, path: Path, **changes: Any) -> DataSettings:
    return DataSettings(name=kind, path=path, validation=changes.pop("validation", 0.5), **changes)


def refusal(attempt: Callable[[], object]) -> str:
    """Return the error of an attempt; it must be one complete sentence."""
    with pytest.raises(UserError) as caught:
        attempt()
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith((".", "?"))
    return sentence


def test_the_test_set_of_the_digits_is_the_last_fifth_of_each_class() -> None:
    source = read_source(DataSettings(), 0)
    _, labels = digit_pixels()
    expected = [int((labels == digit).sum()) // 5 for digit in range(10)]
    assert np.bincount(source.labels[source.train_count :]).tolist() == expected
    assert len(source.labels) == 1797
    first_zero = np.asarray(source.image(0))
    np.testing.assert_array_equal(first_zero, digit_pixels()[0][0])


def test_digits_are_resized_and_repeated_to_rgb() -> None:
    images = open_images(prepare(DataSettings(), 32, 0))
    assert images.pixels.shape == (1797, 32, 32, 3)
    assert images.pixels.dtype == np.uint8
    assert (images.pixels == images.pixels[..., :1]).all()
    for row in (0, 700, 1500):
        number = images.split["index"][row] + (1442 if images.split["part"][row] == "test" else 0)
        grey = read_source(DataSettings(), 0).image(int(number))
        expected = np.asarray(grey.resize((32, 32), Image.Resampling.BILINEAR))
        np.testing.assert_array_equal(images.pixels[row][..., 0], expected)


@pytest.mark.parametrize("test", ["test", "val"])
def test_a_folder_of_images(tmp_path: Path, test: str) -> None:
    prepared = prepare(settings("folder", write_folder(tmp_path, test)), 6, 0)
    assert prepared.classes == ("dark", "light")
    assert prepared.counts == {"train": 6, "validation": 6, "test": 4}
    images = open_images(prepared)
    # The middle square of 12x20 pixels is columns 4 to 15 and has one level. Only its edge may show the grey sides.
    levels = images.pixels[:, 3, 3, 0].tolist()
    assert levels == [*range(10, 16), *range(200, 206), 10, 11, 200, 201]
    assert (images.pixels[:, :, 1:5] == images.pixels[:, 3:4, 3:4]).all()


def test_the_fingerprint_of_a_folder_does_not_depend_on_its_path(tmp_path: Path) -> None:
    here = prepare(settings("folder", write_folder(tmp_path / "here")), 6, 0)
    there = prepare(settings("folder", write_folder(tmp_path / "there")), 6, 0)
    assert here.settings.path != there.settings.path
    assert here.model_copy(update={"settings": there.settings}) == there
    Image.new("L", (12, 12), 50).save(tmp_path / "there/train/dark/0.png")
    assert prepare(settings("folder", tmp_path / "there"), 6, 0).fingerprint != here.fingerprint


def test_an_npz_file_holds_grey_or_coloured_images(tmp_path: Path) -> None:
    pixels, labels = digit_pixels()
    grey = open_images(prepare(settings("npz", write_npz(tmp_path / "grey.npz")), 8, 0))
    np.testing.assert_array_equal(grey.pixels[..., 2], pixels[:260])
    np.testing.assert_array_equal(grey.labels, labels[:260])
    one_channel = write_npz(tmp_path / "one.npz", x_train=pixels[:200, ..., None], x_test=pixels[200:260, ..., None])
    np.testing.assert_array_equal(open_images(prepare(settings("npz", one_channel), 8, 0)).pixels, grey.pixels)
    coloured = np.stack([pixels, 255 - pixels, pixels // 2], axis=-1)
    path = write_npz(tmp_path / "rgb.npz", x_train=coloured[:200], x_test=coloured[200:260])
    np.testing.assert_array_equal(open_images(prepare(settings("npz", path), 8, 0)).pixels, coloured[:260])


def test_labels_of_an_npz_file_may_be_any_integers(tmp_path: Path) -> None:
    _, labels = digit_pixels()
    path = write_npz(tmp_path / "tens.npz", y_train=labels[:200] * 10, y_test=labels[200:260] * 10)
    prepared = prepare(settings("npz", path), 8, 0)
    assert prepared.classes == ("0", "10", "20", "30", "40", "50", "60", "70", "80", "90")
    np.testing.assert_array_equal(open_images(prepared).labels, labels[:260])


def test_a_torchvision_data_set_on_the_disk_is_not_downloaded(tmp_path: Path) -> None:
    pixels, labels = digit_pixels()
    raw = tmp_path / "MNIST/raw"
    raw.mkdir(parents=True)
    for prefix, part in (("train", slice(0, 300)), ("t10k", slice(300, 400))):
        count = part.stop - part.start
        images = struct.pack(">IIII", 0x803, count, 8, 8) + pixels[part].tobytes()
        targets = struct.pack(">II", 0x801, count) + labels[part].astype(np.uint8).tobytes()
        for name, content in ((f"{prefix}-images-idx3-ubyte", images), (f"{prefix}-labels-idx1-ubyte", targets)):
            (raw / name).write_bytes(content)
            (raw / f"{name}.gz").write_bytes(gzip.compress(content))
    prepared = prepare(settings("MNIST", tmp_path), 8, 0)
    assert prepared.classes[3] == "3 - three"
    digits = open_images(prepared)
    np.testing.assert_array_equal(digits.pixels[..., 0], pixels[:400])
    np.testing.assert_array_equal(digits.labels, labels[:400])


def test_two_classes_of_cifar10_are_split(shared: Path) -> None:
    prepared = prepare(settings("npz", shared / "data/cifar10_subset12k.npz", classes=2, validation=100), 32, 0)
    assert prepared.counts == {"train": 1800, "validation": 200, "test": 400}
    assert all(0.3 < mean < 0.6 for mean in prepared.mean)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: DataSettings(name="CIFAR11"), "the nearest is 'CIFAR10'"),
        (lambda p: DataSettings(name="zzz"), "digits, folder, npz"),
        (lambda p: DataSettings(name="VOCDetection"), "no image classification data set"),
        (lambda p: settings("folder", p / "absent"), "There is nothing at"),
        (lambda p: settings("folder", p), "has no class folders with images"),
        (lambda p: settings("npz", p / "absent.npz"), "There is nothing at"),
        (lambda p: settings("npz", write_npz(p / "a.npz", y_test=None)), "lacks y_test"),
        (lambda p: settings("npz", write_npz(p / "b.npz", x_train=np.zeros((200, 8, 8)))), "float64"),
        (lambda p: settings("npz", write_npz(p / "c.npz", y_train=np.zeros(3, int))), "one integer label for each"),
        (lambda p: settings("npz", write_npz(p / "d.npz", y_test=np.full(60, 11))), "class 11"),
        (lambda p: DataSettings(classes=11), "asks for 11 classes, and the data set has 10"),
        (lambda p: DataSettings(classes=("3", "4", "tree")), "'tree'"),
        (lambda p: DataSettings(classes=(3, 10)), "classes 0 to 9"),
        (lambda p: DataSettings(classes=("3", 3)), "lists only the class"),
        (lambda p: DataSettings(validation=160), "class '0' without a training image"),
        (lambda p: DataSettings(fraction=0.01, validation=0.2), "without a validation image"),
    ],
)
def test_an_error_is_one_sentence(tmp_path: Path, make: Callable[[Path], DataSettings], message: str) -> None:
    assert message in refusal(lambda: prepare(make(tmp_path), 8, 0))


def test_a_wrong_folder_is_refused(tmp_path: Path) -> None:
    def prepare_folder(root: Path) -> PreparedData:
        return prepare(settings("folder", root), 6, 0)

    (tmp_path / "half/train").mkdir(parents=True)
    assert "train has no class folders with images" in refusal(lambda: prepare_folder(tmp_path / "half"))
    (tmp_path / "half/test").mkdir()
    assert "train has no class folders with images" in refusal(lambda: prepare_folder(tmp_path / "half"))

    empty_class = write_folder(tmp_path / "empty-class")
    (empty_class / "train/none").mkdir()
    assert "Class 'none' has no training image" in refusal(lambda: prepare_folder(empty_class))
    (empty_class / "train/none").rmdir()
    (empty_class / "test/other").mkdir()
    Image.new("L", (12, 12), 50).save(empty_class / "test/other/1.png")
    assert "'other'" in refusal(lambda: prepare_folder(empty_class))

    broken = write_folder(tmp_path / "broken")
    picture = broken / "train/dark/3.png"
    picture.write_bytes(picture.read_bytes()[:40])
    assert str(picture) in refusal(lambda: prepare_folder(broken))
    picture.write_text("not an image")
    assert str(picture) in refusal(lambda: prepare_folder(broken))
    Image.new("L", (12, 12), 50).save(picture)
    assert prepare_folder(broken).counts["train"] == 6


def test_a_text_is_not_an_npz_file(tmp_path: Path) -> None:
    path = tmp_path / "text.npz"
    path.write_text("hello")
    assert "cannot be read" in refusal(lambda: prepare(settings("npz", path), 8, 0))


@pytest.mark.parametrize(
    "wrong",
    [
        {"fraction": 0},
        {"fraction": 1.5},
        {"validation": 1.0},
        {"validation": 0},
        {"validation": True},
        {"classes": 1},
        {"classes": ["3"]},
        {"augment": "spin"},
        {"name": "folder"},
        {"name": "digits", "path": "/somewhere"},
        {"shuffle": True},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"validation error"):
        DataSettings.model_validate(wrong)


def test_the_digits_are_those_of_scikit_learn() -> None:
    images, labels = load_digits(return_X_y=True)
    source = read_source(DataSettings(name="digits"), 0)
    drawn = {(int(label), np.asarray(source.image(i)).tobytes()) for i, label in enumerate(source.labels)}
    pixels = np.round(images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    assert drawn == {(int(label), image.tobytes()) for image, label in zip(pixels, labels, strict=True)}


def test_the_images_of_a_folder_are_those_of_torchvision_in_its_order(tmp_path: Path) -> None:
    names = ("b/2.png", "b/x/1.PNG", "b/w/3.jpg", "b/notes.txt", "a/z.webp", "a/1.bmp")
    for part, name in product(("train", "test"), names):
        (tmp_path / part / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / part / name).write_bytes(b"")
    source = read_source(DataSettings(name="folder", path=tmp_path), 0)
    theirs = ImageFolder(str(tmp_path / "train"))
    assert source.labels[: source.train_count].tolist() == theirs.targets
    files = []
    for number in range(source.train_count):
        with pytest.raises(UnreadableImage) as refused:
            source.image(number)
        files.append(str(refused.value).partition(" (")[0])
    assert files == [file for file, _ in theirs.samples]
