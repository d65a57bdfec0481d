"""Exported networks: the built, the exported and the measured network are the same."""

from __future__ import annotations

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
import torch
from safetensors.torch import load_file
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, recall_score
from torch import nn

import raynas
from raynas.data import batch, open_images
from raynas.networks.export import export
from raynas.networks.trained_network import find_network
from raynas.results.class_accuracy import ClassAccuracy, accuracy_of_best
from raynas.results.outcome import load
from raynas.storage.run_folder import DamagedFile, RunFolder
from search_spaces import UserError
from search_spaces.feature_maps import FeatureMaps
from search_spaces.loading import load as load_space
from tests.support.small_spaces import cells

TEXT = "nas-bench-macro: k5e6 k3e3 | k3e3 k3e3 skip | k5e6 skip k3e3"


def best_card(run: Path, form: str, out: Path) -> dict[str, Any]:
    return export(str(run), None, form, str(out))


def test_the_exported_network_has_the_accuracy_of_the_table(standalone_run: Path, tmp_path: Path) -> None:
    """On all test images, in onnxruntime, with a batch size other than that of the export."""
    card = best_card(standalone_run, "onnx", tmp_path / "net.onnx")
    trained = find_network(standalone_run)
    images = open_images(trained.data)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    correct, answers = 0, []
    for rows in np.array_split(images.rows("test"), 3):
        pixels, labels = batch(images, rows)
        (logits,) = session.run(["logits"], {"images": pixels.contiguous().numpy()})
        correct += int((np.asarray(logits).argmax(1) == labels.numpy()).sum())
        answers += np.asarray(logits).argmax(1).tolist()
    top1 = 100 * correct / len(images.rows("test"))
    table = load(standalone_run).table.set_index("architecture")
    assert top1 == pytest.approx(card["test_top1"])
    assert top1 == pytest.approx(table["standalone_top1"][card["architecture"]].max())
    assert card["largest_difference"] <= 1e-4
    tested = images.labels[images.rows("test")]
    balanced = 100 * balanced_accuracy_score(tested, answers)
    assert card["balanced_test_top1"] == pytest.approx(balanced)
    assert table["standalone_balanced_top1"][card["architecture"]].max() == pytest.approx(balanced)
    by_class = ClassAccuracy.of(card["classes"], card["confusion"])
    assert by_class is not None
    assert by_class.confusion.tolist() == confusion_matrix(tested, answers).tolist()
    assert card["class_test_top1"] == pytest.approx(100 * recall_score(tested, answers, average=None))


def test_the_built_network_is_the_measured_network(standalone_run: Path) -> None:
    trained = find_network(standalone_run)
    network = raynas.build(standalone_run)
    images = open_images(trained.data)
    pixels, labels = batch(images, images.rows("test"))
    with torch.no_grad():
        logits = network(pixels)
    assert 100 * (logits.argmax(1) == labels).double().mean().item() == pytest.approx(trained.figures["top1"])
    assert nn.functional.cross_entropy(logits, labels).item() == pytest.approx(trained.figures["loss"], abs=1e-4)
    assert sum(weight.numel() for weight in network.parameters()) == trained.figures["params"]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["ftso", "hm-nas"])
def test_a_network_that_its_method_trained_has_an_accuracy_of_each_class(
    name: str, finished_run: Callable[[str], Path]
) -> None:
    run = finished_run(name)
    trained = find_network(run)
    by_class, of_report = trained.by_class(), accuracy_of_best(load(run))
    assert by_class is not None
    assert of_report is not None
    assert by_class.confusion.tolist() == of_report.confusion.tolist()
    assert 100 * by_class.confusion.trace() / by_class.confusion.sum() == trained.figures["top1"]


def test_a_torch_export_file_runs_without_raynas(standalone_run: Path, tmp_path: Path) -> None:
    best_card(standalone_run, "torch-export", tmp_path / "net.pt2")
    code = (
        "import sys, torch; network = torch.export.load('net.pt2').module(); "
        "print(tuple(network(torch.zeros(5, 3, 16, 16)).shape), any(name.startswith(('raynas', 'search_spaces')) "
        "for name in sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "(5, 10) False"


def test_a_safetensors_file_holds_the_weights_of_the_built_network(standalone_run: Path, tmp_path: Path) -> None:
    best_card(standalone_run, "safetensors", tmp_path / "net.safetensors")
    built = raynas.build(standalone_run).state_dict()
    read = load_file(tmp_path / "net.safetensors")
    assert read.keys() == built.keys()
    assert all(torch.equal(value, read[key]) for key, value in built.items())


def test_the_card_describes_the_network(standalone_run: Path, tmp_path: Path) -> None:
    card = best_card(standalone_run, "safetensors", tmp_path / "net.safetensors")
    written = json.loads((tmp_path / "net.safetensors.json").read_text())
    trained = find_network(standalone_run)
    assert written["architecture"] == trained.text == card["architecture"]
    assert written["classes"] == [str(digit) for digit in range(10)]
    assert written["budget"]["macs"]["max"] == 300_000
    assert written["macs"] <= 300_000
    assert written["test_images"] == 355
    assert written["input"]["shape"] == ["batch", 3, 16, 16]
    assert written["versions"]["torch"] == torch.__version__.partition("+")[0]
    text = (tmp_path / "net.safetensors.md").read_text()
    balanced = f"| balanced accuracy | {card['balanced_test_top1']:.2f} % |"
    for words in (
        balanced,
        "## Accuracy by class",
        trained.text,
        f"{card['test_top1']:.2f} %",
        "macs max 300,000",
        "digits",
        "`float32`",
    ):
        assert words in text


def test_a_network_is_found_by_accuracy_or_by_text(standalone_run: Path) -> None:
    table = load(standalone_run).table.dropna(subset=["standalone_top1"]).drop_duplicates("architecture")
    assert len(table) == 3
    assert find_network(standalone_run).figures["top1"] == table["standalone_top1"].max()
    for text, top1 in zip(table["architecture"], table["standalone_top1"], strict=True):
        assert find_network(standalone_run, text).figures["top1"] == top1


def test_an_untrained_network_is_not_exported(standalone_run: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"holds no network of .* that was trained stand-alone: train it with raynas fit"
    ):
        export(str(standalone_run), TEXT, "onnx", None)
    with pytest.raises(UserError, match="No run in runs has trained"):
        export(TEXT, None, "onnx", None)
    with pytest.raises(UserError, match=r"is not the folder of a run"):
        export(str(tmp_path), None, "onnx", None)
    bare = tmp_path / "bare"
    shutil.copytree(standalone_run, bare, ignore=shutil.ignore_patterns("standalone"))
    with pytest.raises(UserError, match="holds no network that was trained stand-alone"):
        export(str(bare), None, "onnx", None)


def test_a_run_of_another_version_is_called_that(standalone_run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(standalone_run, other)
    versions = RunFolder(other).read_json("versions.json")
    del versions["data"]["counts"]
    RunFolder(other).write_json("versions.json", versions)
    with pytest.raises(DamagedFile, match=r"versions\.json in .*other is damaged or of another version"):
        export(str(other), None, "onnx", None)


@pytest.mark.parametrize(
    ("form", "out", "sentence"),
    [
        ("keras", "net.h5", "--format is onnx, torch-export, safetensors, not 'keras'"),
        ("onnx", "net.pt2", r"A file of the format onnx ends in \.onnx"),
        ("safetensors", "/proc/net.safetensors", "cannot be written"),
    ],
)
def test_a_file_that_cannot_be_written_is_an_error(standalone_run: Path, form: str, out: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        export(str(standalone_run), None, form, out)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("proxylessnas", {"width": 0.25, "resolution": 64}),
        ("fbnetv2-f", {"width": 0.25, "resolution": 64}),
        ("darts-imagenet", {"cells": 3, "channels": 8, "resolution": 64}),
        ("nats-bench", {}),
    ],
)
def test_the_deepest_feature_map_gives_the_logits(name: str, settings: dict[str, Any]) -> None:
    """The head of the network turns the deepest map into its logits. Strides and channels of all maps are as stated."""
    torch.manual_seed(0)
    space = load_space(name, **settings)
    architecture = space.sample(np.random.default_rng(0))
    network = space.network(architecture).eval()
    head = network.get_submodule("head")
    images = torch.randn(2, 3, space.resolution, space.resolution)
    expected = network(images)
    features = FeatureMaps(network, space.resolution).eval()
    maps = features(images)
    torch.testing.assert_close(head(maps["out"]), expected)
    assert {key: value.shape[1] for key, value in maps.items()} == dict(features.channels)
    sizes = [value.shape[2] for value in maps.values()]
    assert sizes == sorted(set(sizes), reverse=True)
    for key, value in maps.items():
        assert key == "out" or value.shape[2] == space.resolution // int(key.removeprefix("stride"))


def test_a_backbone_under_the_head_of_deeplab_learns() -> None:
    """The transfer of PAD-NAS table 5: torchvision's DeepLabV3 on our feature maps gives each pixel a class."""
    from torchvision.models.segmentation.deeplabv3 import DeepLabHead, DeepLabV3

    torch.manual_seed(0)
    backbone = raynas.build(
        "proxylessnas: k3e1 | k5e6 k3e3 skip skip | k3e3 k3e3 skip skip | k3e3 k3e3 skip skip | k3e3 k3e3 skip skip | "
        "k3e3 k3e3 skip skip | k7e6",
        features_only=True,
        width=0.25,
        resolution=64,
    )
    assert isinstance(backbone, FeatureMaps)
    network = DeepLabV3(backbone, DeepLabHead(backbone.channels["out"], 2))
    classes = torch.zeros(4, 64, 64, dtype=torch.int64)
    classes[:, :, 32:] = 1
    images = torch.randn(4, 3, 64, 64) + 4 * classes[:, None]
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    losses = []
    for _ in range(8):
        logits = network(images)["out"]
        assert logits.shape == (4, 2, 64, 64)
        loss = nn.functional.cross_entropy(logits, classes)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(weight.grad is not None for weight in backbone.parameters())


def test_a_genotype_is_exported_with_its_weights(tmp_path: Path) -> None:
    """torch.export keeps the weights of operations and edges."""
    from search_spaces.cell.genotype import Genotype

    torch.manual_seed(0)
    space = cells("darts", {"cells": 2, "channels": 4, "resolution": 8, "num_classes": 3})
    rows = np.random.default_rng(0).random((len(space.choices), len(space.choices[0].options)))
    genotype = Genotype.of(space, (rows * (rows > 0.6)).tolist(), [0.5] * len(space.choices))
    network = genotype.network().eval()
    images = torch.randn(2, 3, 8, 8)
    program = torch.export.export(network, (images,))
    torch.testing.assert_close(program.module()(images), network(images))


@pytest.mark.parametrize("preprocessing", ["outside", "inside"])
def test_an_onnx_file_holds_the_facts_of_its_card(preprocessing: str, standalone_run: Path, tmp_path: Path) -> None:
    file = str(tmp_path / "net.onnx")
    card = export(str(standalone_run), None, "onnx", file, preprocessing, "CC BY 4.0")
    facts = onnxruntime.InferenceSession(file).get_modelmeta().custom_metadata_map
    assert {key: json.loads(value) for key, value in facts.items()} == {key: card[key] for key in facts}
    assert {"classes", "preprocessing", "test_top1", "balanced_test_top1", "licence", "input", "output"} <= facts.keys()
    assert "- Licence: CC BY 4.0\n" in Path(card["card"]).read_text()
