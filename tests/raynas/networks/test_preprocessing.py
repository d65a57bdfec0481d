"""What the card and `raynas predict` do with an image file is what the accuracy was measured on, bit for bit."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from raynas.data import DataSettings, Images, batch, open_images, prepare
from raynas.data.images import read_originals
from raynas.networks.export import export
from raynas.networks.fit import fit_architecture, fit_recipe
from raynas.networks.predict import predict
from raynas.networks.preprocessing import Preprocessing
from raynas.networks.trained_network import find_network
from raynas.storage.progress import Quiet
from search_spaces.errors import UserError
from tests.support.made_once import make_once, session_folder

RESOLUTION = 16


def _photos(file: Path, generator: np.random.Generator) -> None:
    """Write a photo that the camera took sideways; photos of the class `b` are darker."""
    exif = Image.Exif()
    exif[0x0112] = int(generator.integers(1, 9))
    pixels = generator.integers(256, size=(int(generator.integers(20, 60)), 44, 3), dtype=np.uint8)
    Image.fromarray(pixels // (1 + 3 * (file.parent.name == "b"))).save(file.with_suffix(".jpg"), exif=exif)


def _grey_16_bit(file: Path, generator: np.random.Generator) -> None:
    pixels = generator.integers(2**16, size=(33, 21), dtype=np.uint16)
    Image.fromarray(pixels // (1 + 3 * (file.parent.name == "b"))).save(file.with_suffix(".png"))


def _transparent(file: Path, generator: np.random.Generator) -> None:
    Image.fromarray(generator.integers(256, size=(18, 25, 4), dtype=np.uint8)).save(file.with_suffix(".png"))


def write_images(root: Path, write: Callable[[Path, np.random.Generator], None], images: int = 4) -> Path:
    generator = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in ("a", "b"):
            (root / part / name).mkdir(parents=True)
            for number in range(images):
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
    rows = images.rows("test")
    for row, image in zip(rows, read_originals(images, rows), strict=True):
        folder = root / images.prepared.classes[images.labels[row]]
        folder.mkdir(parents=True, exist_ok=True)
        image.save(folder / f"{row}.png")
    return root


@pytest.fixture(params=["digits", "photos with orientation", "grey of 16 bits"])
def run_and_images(
    request: pytest.FixtureRequest, standalone_run: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """Return a run, and a folder of its test images as files."""
    if request.param == "digits":
        return standalone_run, write_test_images(open_images(find_network(standalone_run).data), tmp_path / "images")
    write, augment = {"p": (_photos, "random-resized-crop"), "g": (_grey_16_bit, "crop")}[request.param[0]]
    folder = make_once(session_folder(tmp_path_factory) / request.param, lambda made: fit_network(write, augment, made))
    return folder / "run", folder / "images" / "test"


def fit_network(write: Callable[[Path, np.random.Generator], None], augment: str, folder: Path) -> None:
    images = write_images(folder / "images", write, 24)
    data = {"name": "folder", "path": images, "augment": augment, "validation": 2}
    changes = [f"data.{key}={value}" for key, value in data.items()]
    architecture = "nas-bench-macro: skip k3e3 | k3e3 skip k3e3 | k3e3 skip skip"
    changes += ["space.width=0.25", f"space.resolution={RESOLUTION}", "epochs=12", "batch_size=8", "learning_rate=0.05"]
    fit_architecture(architecture, str(folder / "run"), fit_recipe(architecture, None, changes), Quiet())


def test_all_files_have_the_accuracy_of_the_card(run_and_images: tuple[Path, Path], tmp_path: Path) -> None:
    """By the run, by `raynas predict` and by the code of the card, to the image."""
    run, folder = run_and_images
    files = sorted(str(file) for file in folder.rglob("*.*"))
    cards = [
        export(str(run), None, "onnx", str(tmp_path / "outside.onnx")),
        export(str(run), None, "onnx", str(tmp_path / "inside.onnx"), "inside"),
        export(str(run), None, "torch-export", str(tmp_path / "network.pt2")),
    ]
    answers = [[row["class"] for row in predict(source, files)] for source in (str(run), *(c["file"] for c in cards))]
    answers += [classes_by_code_of_card(card, files) for card in cards[:2]]
    assert len(set(answers[0])) > 1
    assert all(answer == answers[0] for answer in answers)
    right = sum(Path(file).parent.name == name for file, name in zip(files, answers[0], strict=True))
    assert {card["test_images"] for card in cards} == {len(files)}
    assert cards[0]["test_top1"] == pytest.approx(100 * right / len(files))
    assert ("test top-5" in Path(cards[0]["card"]).read_text()) == (len(cards[0]["classes"]) > 5)


def classes_by_code_of_card(card: dict[str, Any], files: list[str]) -> list[str]:
    """Run the code of a card on an image, then what the code defines on all images."""
    folder = Path(card["card"]).parent
    shutil.copy(files[0], folder / "image.jpg")  # Pillow looks at the content
    code = Path(card["card"]).read_text().split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    with contextlib.chdir(folder):
        exec(code, names)
    outputs = []
    for file in files:
        image = names["read"](file)[None].astype(card["input"]["type"])
        (output,) = names["session"].run([card["output"]["name"]], {card["input"]["name"]: image})
        outputs.append(card["classes"][int(output.argmax())])
    return outputs


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


def test_a_graph_takes_batches_of_images_of_any_size(standalone_run: Path, tmp_path: Path) -> None:
    card = export(str(standalone_run), None, "onnx", str(tmp_path / "net.onnx"), "inside")
    session = onnxruntime.InferenceSession(card["file"])
    for height, width in ((500, 375), (40, 36), (9, 200)):
        pixels = np.random.default_rng(0).integers(256, size=(2, height, width, 3), dtype=np.uint8)
        (together,) = session.run(["probabilities"], {"pixels": pixels})
        alone = [session.run(["probabilities"], {"pixels": image[None]})[0][0] for image in pixels]
        assert together == pytest.approx(np.stack(alone), abs=1e-5)
        assert together.sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize(("form", "place"), [("torch-export", "inside"), ("safetensors", "inside"), ("onnx", "within")])
def test_preprocessing_is_inside_onnx_or_outside(form: str, place: str, standalone_run: Path) -> None:
    with pytest.raises(UserError, match="--preprocessing"):
        export(str(standalone_run), None, form, None, place)


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
