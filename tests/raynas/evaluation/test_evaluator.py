"""One-shot accuracy does not depend on what was asked before, and is that of the network standing alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
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
    made = load("nas-bench-macro", width=0.125, resolution=16, **settings)
    whole = made.supernet

    def supernet():
        built = whole()
        built.get_submodule("blocks.stage1-1.k3e3").register_forward_pre_hook(fail)
        return built

    made.name, made.supernet = "breaking", supernet
    return made
"""


@pytest.fixture(scope="module")
def images(image_cache: Path) -> Images:
    return open_images(prepare(DataSettings(classes=3, validation=0.2), 16, seed=0))


@pytest.fixture
def supernet() -> Supernet:
    """Untrained, but with batch norm of no block at rest."""
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


def test_oracle_do_not_depend_on_the_order_of_questions(images: Images, supernet: Supernet) -> None:
    evaluator = Evaluator(SPACE, images, SETTINGS, torch.device("cpu"))
    asked = architectures(4)
    there = evaluator.one_shot(supernet, asked)
    back = evaluator.one_shot(supernet, asked[::-1])
    (fresh,) = Evaluator(SPACE, images, SETTINGS, torch.device("cpu")).one_shot(supernet, asked[2:3])
    for key in ("top1", "top5", "loss", "images"):
        assert [one[key] for one in there] == [one[key] for one in reversed(back)]
        assert fresh[key] == there[2][key]
    assert len({one["loss"] for one in there}) == 4


def test_isomorphic_architectures_are_measured_each_with_its_own_weights(images: Images, supernet: Supernet) -> None:
    """Asked together they have other oracle, and each the one that it has when asked alone."""
    asked = [
        SPACE.parse(f"nas-bench-macro: k3e3 k3e3 | k5e6 {ending} | skip skip skip")
        for ending in ("k3e3 skip", "skip k3e3")
    ]
    assert SPACE.canonical(asked[0]) == SPACE.canonical(asked[1])
    evaluator = Evaluator(SPACE, images, SETTINGS, torch.device("cpu"))
    together = evaluator.one_shot(supernet, asked)
    assert together[0]["loss"] != together[1]["loss"]
    assert [one["loss"] for one in together] == [evaluator.one_shot(supernet, [one])[0]["loss"] for one in asked]


def test_recalibration_leaves_momentum_as_training_has_it(images: Images, supernet: Supernet) -> None:
    norms = [module for module in supernet.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [norm.momentum for norm in norms]
    Evaluator(SPACE, images, SETTINGS, torch.device("cpu")).one_shot(supernet, architectures(1))
    assert [norm.momentum for norm in norms] == before


@pytest.mark.parametrize("position", range(3))
def test_a_sub_network_is_the_network_standing_alone(images: Images, supernet: Supernet, position: int) -> None:
    """Against a plain loop: `network`'s own weights, running means over the same batches, and accuracy counted anew."""
    architecture = architectures(3)[position]
    network = SPACE.network(architecture)
    network.load_state_dict(SPACE.network_state(architecture, supernet.state_dict()))
    (answer,) = Evaluator(SPACE, images, SETTINGS, torch.device("cpu")).one_shot(supernet, [architecture])

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
    assert answer["images"] == len(labels)
    assert answer["loss"] == pytest.approx(float(nn.functional.cross_entropy(logits, labels)), rel=1e-5)
    assert answer["top1"] == pytest.approx(100 * float((logits.argmax(1) == labels).float().mean()), abs=1e-4)
    assert answer["top5"] == 100, "there are three classes"


def test_oracle_from_a_run_folder_are_the_evaluators(tmp_path: Path, images: Images, supernet: Supernet) -> None:
    folder = RunFolder(tmp_path)
    folder.write_tensors("w.safetensors", supernet.state_dict(), {})
    asked = architectures(2)
    oracle = SupernetOracle(
        run=folder.uri,
        space=SPACE.specification(),
        data=images.prepared,
        evaluation=SETTINGS,
        part="validation",
        recalibrate=True,
    ).load()
    evaluator = Evaluator(SPACE, images, SETTINGS, torch.device("cpu"))
    found = oracle.evaluate([one.indices for one in asked], "w.safetensors")
    for answer, expected in zip(found, evaluator.one_shot(supernet, asked), strict=True):
        assert {**answer, "seconds": 0} == {**expected, "seconds": 0}


def test_a_pruned_supernet_takes_its_weights_from_its_parents(
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


def test_what_breaks_while_it_is_measured_leaves_the_others_their_figures(
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
    asked = [(first, *architectures(1)[0].indices[1:]) for first in (0, 1, 2)]
    before, broken, after = oracle.evaluate(asked, "w.safetensors")
    assert broken["failure"] == "RuntimeError: this block breaks"
    assert (broken["top1"], broken["images"]) == (0, 0)
    evaluator = Evaluator(SPACE, images, SETTINGS, torch.device("cpu"))
    expected = evaluator.one_shot(supernet, [SPACE.architecture(asked[place]) for place in (0, 2)])
    for answer, alone in zip((before, after), expected, strict=True):
        assert {**answer, "seconds": 0} == {**alone, "seconds": 0}
