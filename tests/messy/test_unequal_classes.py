"""500 images of one class against 5 of another: what is printed names the balanced accuracy and the weak class."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from raynas.cli.main import main

NETWORK = "nas-bench-macro: k3e3 k3e3 | k3e3 skip k3e3 | k3e3 skip skip"
IMAGES = {"good": 500, "broken": 5}
TESTED = {"good": 100, "broken": 1}
"""A fifth of each class."""


def write_images(folder: Path, draw: Callable[[str, np.random.Generator], NDArray[np.uint8]]) -> None:
    generator = np.random.default_rng(0)
    for name, count in IMAGES.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(draw(name, generator)).save(folder / name / f"{number}.png")


def draw_noise(name: str, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Draw an image that says nothing of its class."""
    return generator.integers(256, size=(36, 40), dtype=np.uint8)


def draw_bright_or_dark(name: str, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Draw an image whose brightness is its class."""
    return generator.integers(100, size=(36, 40), dtype=np.uint8) + np.uint8(130 * (name == "broken"))


def fit(folder: Path, out: Path, *changes: str) -> None:
    settings = ["data.name=folder", f"data.path={folder}", "space.width=0.125", "space.resolution=16", *changes]
    settings += ["batch_size=32", "learning_rate=0.05", "scale.evaluate.actors=1"]
    main(["fit", NETWORK, "--out", str(out), "--quiet", *(f"--set={setting}" for setting in settings)])


@pytest.mark.usefixtures("cluster")
def test_a_network_that_only_knows_the_large_class_is_shown_as_that(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path / "photos", draw_noise)
    fit(tmp_path / "photos", tmp_path / "run", "epochs=1")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("stand-alone: test top-1 99.01 %")
    assert lines[2] == (
        "balanced accuracy 50.00 %, the mean over 2 classes; the weakest class is broken: 0.00 % of 1 test image"
    )
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert any("the classes have 4 to 400 training images" in str(line.get("text")) for line in log)
    (file,) = (tmp_path / "run" / "standalone").glob("*.json")
    network = json.loads(file.read_text())
    assert network["class_top1"] == [0, 100]
    assert network["confusion"] == [[0, 1, TESTED["broken"]], [1, 1, TESTED["good"]]]


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("balance", ["sampler=balanced", "class_weights=balanced"])
def test_a_balanced_training_learns_the_small_class(
    balance: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path / "photos", draw_bright_or_dark)
    fit(tmp_path / "photos", tmp_path / "run", "epochs=4", balance)
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("balanced accuracy ")
    assert "broken" not in lines[2], f"the small class is not the weakest: {lines[2]}"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("cluster")
def test_auto_says_what_it_does_for_the_small_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The tutorial's first command, on photos of 40 x 36 pixels."""
    write_images(tmp_path / "flowers", draw_bright_or_dark)
    command = ["auto", str(tmp_path / "flowers"), "--max-macs", "3M", "--minutes", "1"]
    main([*command, "--out", str(tmp_path / "run")])
    printed = capsys.readouterr()
    assert "classes: the largest has 100 times the training images" in printed.err.partition("supernet  training")[0]
    assert any(line.startswith("balanced accuracy ") for line in printed.out.splitlines())
    assert "sampler: balanced" in (tmp_path / "run.yaml").read_text()
    card = json.loads((tmp_path / "run" / "export" / "run.onnx.json").read_text())
    assert len(card["class_test_top1"]) == 2
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Accuracy by class" in page
    assert "Confusion matrix" in page
