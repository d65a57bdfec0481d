"""One-shot accuracy does not depend on earlier measurements, and is equal to that of the separate network."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix
from torch import nn

from raynas.data import DataSettings, Images, batch, open_images, prepare
from raynas.evaluation.evaluator import Evaluator
from raynas.evaluation.one_shot import SupernetOracle
from raynas.recipe.settings import EvaluationSettings
from raynas.storage.run_folder import RunFolder
from search_spaces import Architecture, load
from search_spaces.supernet import Supernet
from search_spaces.user_space import SpaceFile

SPACE = load("nas-bench-macro", width=0.125, resolution=16, num_classes=3)
SETTINGS = EvaluationSettings(batch_size=48, recalibration_images=70, recalibration_batch_size=32)
BREAKING = """
from search_spaces import load


def fail(block, inputs):
    raise RuntimeError("this block breaks")


def space(**settings):
    changed = load("nas-bench-macro", width=0.125, resolution=16, **settings)
    build = changed.supernet

    def breaking_supernet():
        supernet = build()
        supernet.get_submodule("blocks.stage1-1.k3e3").register_forward_pre_hook(fail)
        return supernet

    changed.name, changed.supernet = "breaking", breaking_supernet
    return changed
"""


@pytest.fixture(scope="module")
def images(image_cache: Path) -> Images:
    return open_images(prepare(DataSettings(classes=3, validation=0.2), 16, seed=0))


@pytest.fixture
def supernet() -> Supernet:
    """An untrained supernet in which each batch norm changes its input."""
    torch.manual_seed(0)
    built: Supernet = SPACE.supernet().to(memory_format=torch.channels_last)
    for module in built.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.2)
            module.running_mean = torch.randn_like(module.weight)
    return built


def architectures(count: int) -> list[Architecture]:
    generator = np.random.default_rng(1)
    return [SPACE.sample(generator) for _ in range(count)]


def test_figures_do_not_depend_on_the_order_of_architectures(images: Images, supernet: Supernet) -> None:
    evaluator = Evaluator(SPACE, images, SETTINGS, torch.device("cpu"))
    drawn = architectures(4)
    forward = evaluator.one_shot(supernet, drawn)
    backward = evaluator.one_shot(supernet, drawn[::-1])
    (fresh,) = Evaluator(SPACE, images, SETTINGS, torch.device("cpu")).one_shot(supernet, drawn[2:3])
    for key in ("top1", "top5", "loss", "images"):
        assert [figures[key] for figures in forward] == [figures[key] for figures in reversed(backward)]
        assert fresh[key] == forward[2][key]
    assert len({figures["loss"] for figures in forward}) == 4


def test_isomorphic_architectures_are_measured_with_their_own_weights(images: Images, supernet: Supernet) -> None:
    """Their figures differ, and are the same together and alone."""
    isomorphic = [
        SPACE.parse(f"nas-bench-macro: k3e3 k3e3 | k5e6 {ending} | skip skip skip")
        for ending in ("k3e3 skip", "skip k3e3")
    ]
    assert SPACE.canonical(isomorphic[0]) == SPACE.canonical(isomorphic[1])
    evaluator = Evaluator(SPACE, images, SETTINGS, torch.device("cpu"))
    together = evaluator.one_shot(supernet, isomorphic)
    assert together[0]["loss"] != together[1]["loss"]
    assert [figures["loss"] for figures in together] == [
        evaluator.one_shot(supernet, [architecture])[0]["loss"] for architecture in isomorphic
    ]


def test_recalibration_does_not_change_the_momentum_of_batch_norm(images: Images, supernet: Supernet) -> None:
    norms = [module for module in supernet.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [norm.momentum for norm in norms]
    Evaluator(SPACE, images, SETTINGS, torch.device("cpu")).one_shot(supernet, architectures(1))
    assert [norm.momentum for norm in norms] == before


@pytest.mark.parametrize("position", range(3))
def test_a_sub_network_is_equal_to_the_separate_network(images: Images, supernet: Supernet, position: int) -> None:
    """A plain loop recalibrates the separate network on the same batches and counts its accuracy."""
    architecture = architectures(3)[position]
    network = SPACE.network(architecture)
    network.load_state_dict(SPACE.network_state(architecture, supernet.state_dict()))
    (figures,) = Evaluator(SPACE, images, SETTINGS, torch.device("cpu")).one_shot(supernet, [architecture])

    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
        if isinstance(module, nn.Dropout):
            module.eval()
    rows = images.recalibration_rows(SETTINGS.recalibration_images)
    with torch.no_grad():
        for start in range(0, len(rows) // 32 * 32, 32):
            network(batch(images, rows[start : start + 32])[0])
        network.eval()
        inputs, labels = batch(images, images.rows("validation"))
        logits = network(inputs)
    assert figures["images"] == len(labels)
    assert figures["loss"] == pytest.approx(float(nn.functional.cross_entropy(logits, labels)), rel=1e-5)
    assert figures["top1"] == pytest.approx(100 * float((logits.argmax(1) == labels).float().mean()), abs=1e-4)
    assert figures["top5"] == 100, "there are three classes"


def test_on_the_test_images_the_answers_of_each_class_are_counted(images: Images, supernet: Supernet) -> None:
    """Searches count no answers. The counts do not depend on the batches, and their diagonal is the accuracy."""
    (architecture,) = architectures(1)
    (searched,) = Evaluator(SPACE, images, SETTINGS, torch.device("cpu")).one_shot(supernet, [architecture])
    assert searched["confusion"] is None
    evaluator = Evaluator(SPACE, images, SETTINGS, torch.device("cpu"), part="test")
    (figures,) = evaluator.one_shot(supernet, [architecture], recalibrate=False)
    pixels, labels = batch(images, images.rows("test"))
    assert len(labels) > SETTINGS.batch_size
    with torch.no_grad():
        answers = supernet.eval()(pixels, architecture).argmax(1)
    expected = confusion_matrix(labels, answers, labels=[0, 1, 2])
    counts = [[*place, expected[tuple(place)]] for place in np.argwhere(expected).tolist()]
    assert figures["confusion"] == counts
    assert 100 * expected.trace() / len(labels) == figures["top1"]


def test_an_oracle_with_weights_of_a_run_folder_has_the_figures_of_the_evaluator(
    tmp_path: Path, images: Images, supernet: Supernet
) -> None:
    folder = RunFolder(tmp_path)
    folder.write_tensors("w.safetensors", supernet.state_dict(), {})
    drawn = architectures(2)
    oracle = SupernetOracle(
        run=folder.uri,
        space=SPACE.specification(),
        data=images.prepared,
        evaluation=SETTINGS,
        part="validation",
        recalibrate=True,
    ).load()
    evaluator = Evaluator(SPACE, images, SETTINGS, torch.device("cpu"))
    measured = oracle.evaluate([architecture.indices for architecture in drawn], "w.safetensors")
    for figures, expected in zip(measured, evaluator.one_shot(supernet, drawn), strict=True):
        assert {**figures, "seconds": 0} == {**expected, "seconds": 0}


def test_a_restricted_space_takes_the_weights_of_the_whole_supernet(
    tmp_path: Path, images: Images, supernet: Supernet
) -> None:
    folder = RunFolder(tmp_path)
    folder.write_tensors("w.safetensors", supernet.state_dict(), {})
    architecture = architectures(1)[0]
    oracle = SupernetOracle(
        run=folder.uri,
        space=SPACE.only(architecture).specification(),
        data=images.prepared,
        evaluation=SETTINGS,
        part="validation",
        recalibrate=True,
    ).load()
    (expected,) = Evaluator(SPACE, images, SETTINGS, torch.device("cpu")).one_shot(supernet, [architecture])
    assert oracle.evaluate([architecture.indices], "w.safetensors")[0]["loss"] == expected["loss"]


def test_an_architecture_that_fails_costs_no_other_its_figures(
    tmp_path: Path, images: Images, supernet: Supernet
) -> None:
    (tmp_path / "breaking.py").write_text(BREAKING)
    folder = RunFolder(tmp_path)
    folder.write_tensors("w.safetensors", supernet.state_dict(), {})
    oracle = SupernetOracle(
        run=folder.uri,
        space=SpaceFile.read(tmp_path / "breaking.py").space(num_classes=3).specification(),
        data=images.prepared,
        evaluation=SETTINGS,
        part="validation",
        recalibrate=True,
    ).load()
    indices = [(first, *architectures(1)[0].indices[1:]) for first in (0, 1, 2)]
    before, broken, after = oracle.evaluate(indices, "w.safetensors")
    assert broken["failure"] == "RuntimeError: this block breaks"
    assert (broken["top1"], broken["images"]) == (0, 0)
    evaluator = Evaluator(SPACE, images, SETTINGS, torch.device("cpu"))
    expected = evaluator.one_shot(supernet, [SPACE.architecture(indices[place]) for place in (0, 2)])
    for figures, alone in zip((before, after), expected, strict=True):
        assert {**figures, "seconds": 0} == {**alone, "seconds": 0}
