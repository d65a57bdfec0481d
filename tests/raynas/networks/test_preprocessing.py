"""What the card and `raynas predict` do with an image file is what the accuracy was measured on, bit for bit."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from raynas.data import DataSettings, Images, batch, open_images, prepare
from raynas.data.sources import read_source
from raynas.networks.export import export
from raynas.networks.predict import predict
from raynas.networks.preprocessing import Preprocessing
from raynas.networks.trained_network import find_network
from search_spaces.errors import UserError

RESOLUTION = 16


def _photos(file: Path, generator: np.random.Generator) -> None:
    """Write a photo that the camera took sideways."""
    exif = Image.Exif()
    exif[0x0112] = int(generator.integers(1, 9))
    pixels = generator.integers(256, size=(int(generator.integers(20, 60)), 44, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file.with_suffix(".jpg"), exif=exif)


def _grey_16_bit(file: Path, generator: np.random.Generator) -> None:
    Image.fromarray(generator.integers(2**16, size=(33, 21), dtype=np.uint16)).save(file.with_suffix(".png"))


def _transparent(file: Path, generator: np.random.Generator) -> None:
    Image.fromarray(generator.integers(256, size=(18, 25, 4), dtype=np.uint8)).save(file.with_suffix(".png"))


def write_images(root: Path, write: Callable[[Path, np.random.Generator], None]) -> Path:
    generator = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in ("a", "b"):
            (root / part / name).mkdir(parents=True)
            for number in range(4):
                write(root / part / name / f"{number}", generator)
    return root


def read_by_the_code_of_the_card(preprocessing: Preprocessing, files: list[str]) -> np.ndarray[Any, Any]:
    names: dict[str, Any] = {}
    exec(preprocessing.code(), names)
    return np.stack([names["read"](file) for file in files])


@pytest.mark.parametrize("augment", ["none", "crop", "crop-flip", "random-resized-crop"])
@pytest.mark.parametrize("write", [_photos, _grey_16_bit, _transparent])
def test_the_inputs_of_a_file_are_those_of_the_measurement(
    write: Callable[[Path, np.random.Generator], None], augment: str, tmp_path: Path
) -> None:
    path = write_images(tmp_path, write)
    settings = DataSettings.model_validate(
        {"name": "folder", "path": path, "augment": augment, "validation": 1, "background": "#204060"}
    )
    images = open_images(prepare(settings, RESOLUTION, 0))
    expected = batch(images, images.rows("test"))[0].numpy()
    files = [str(file) for file in sorted((path / "test").rglob("*.*"))]
    preprocessing = Preprocessing.of(images.prepared)
    assert np.array_equal(np.stack([preprocessing.array(Image.open(file)) for file in files]), expected)
    assert np.array_equal(read_by_the_code_of_the_card(preprocessing, files), expected)


def write_test_images(images: Images, root: Path) -> Path:
    """Write the test images of the digits, each into the folder of its class."""
    source = read_source(images.prepared.settings, images.prepared.seed)
    rows = images.rows("test")
    for row, index in zip(rows, images.split["index"].to_numpy()[rows], strict=True):
        folder = root / images.prepared.classes[images.labels[row]]
        folder.mkdir(parents=True, exist_ok=True)
        source.image(source.train_count + int(index)).save(folder / f"{row}.png")
    return root


def test_predictions_have_the_accuracy_of_the_card(standalone_run: Path, tmp_path: Path) -> None:
    """By the run, by ONNX and by torch's format, to the image."""
    card = export(str(standalone_run), None, "onnx", str(tmp_path / "net.onnx"))
    export(str(standalone_run), None, "torch-export", str(tmp_path / "net.pt2"))
    folder = write_test_images(open_images(find_network(standalone_run).data), tmp_path / "images")
    for source in (standalone_run, tmp_path / "net.onnx", tmp_path / "net.pt2"):
        rows = predict(str(source), [str(folder)])
        right = sum(Path(row["image"]).parent.name == row["class"] for row in rows)
        assert len(rows) == card["test_images"]
        assert right == round(card["test_top1"] / 100 * card["test_images"])


def test_the_code_of_the_card_runs_without_raynas(standalone_run: Path, tmp_path: Path) -> None:
    export(str(standalone_run), None, "onnx", str(tmp_path / "net.onnx"))
    folder = write_test_images(open_images(find_network(standalone_run).data), tmp_path / "images")
    file = next(folder.rglob("*.png"))
    shutil.copy(file, tmp_path / "image.jpg")  # Pillow looks at the content
    code = (tmp_path / "net.onnx.md").read_text().split("```python\n")[1].split("```")[0]
    code += "import sys; print(any(name.startswith('raynas') for name in sys.modules))"
    ran = subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    label, has_raynas = ran.stdout.split("\n")[:2]
    classes = json.loads((tmp_path / "net.onnx.json").read_text())["classes"]
    assert has_raynas == "False"
    assert classes[int(label.strip("[]"))] == predict(str(tmp_path / "net.onnx"), [str(file)])[0]["class"]


def test_the_best_classes_come_first_and_their_probabilities_sum_to_one(standalone_run: Path, tmp_path: Path) -> None:
    folder = write_test_images(open_images(find_network(standalone_run).data), tmp_path)
    rows = predict(str(standalone_run), [str(next(folder.rglob("*.png")))], top=10)
    probabilities = [row["probability"] for row in rows]
    assert sorted(probabilities, reverse=True) == probabilities
    assert sum(probabilities) == pytest.approx(1)


@pytest.mark.parametrize(
    ("source", "images", "message"),
    [
        ("absent.onnx", ["whole.png"], "There is no file absent.onnx"),
        ("text.onnx", ["whole.png"], "text.onnx cannot be read as ONNX"),
        ("net.safetensors", ["whole.png"], "holds weights alone"),
        ("text.onnx", ["nothing.png"], "There is nothing at nothing.png"),
        ("text.onnx", ["empty"], "There is no image in empty"),
        ("absent", ["whole.png"], "absent"),
    ],
)
def test_what_cannot_be_predicted_is_refused(
    source: str, images: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.onnx").write_text("no network")
    (tmp_path / "empty").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "whole.png")
    with pytest.raises(UserError, match=message):
        predict(source, images)


def test_all_images_that_cannot_be_read_are_named(standalone_run: Path, tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "whole.png")
    (tmp_path / "broken.png").write_text("no image")
    with pytest.raises(UserError, match=r"1 of 2 images cannot be read: .*broken\.png"):
        predict(str(standalone_run), [str(tmp_path)])
