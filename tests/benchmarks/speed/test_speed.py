"""What the speed benchmark compares is the same: logits, accuracies, counts; searches say what they measured."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import search_spaces
from benchmarks.speed import evaluation
from benchmarks.speed import search as searching
from raynas.data import DataSettings, Images, batch, open_images, prepare
from raynas.recipe.settings import EvaluationSettings, RacingSettings
from search_spaces import SearchSpace
from search_spaces.supernet import Supernet

BATCH = 32


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return search_spaces.load("nas-bench-macro", width=0.125, resolution=16, num_classes=3)


@pytest.fixture(scope="module")
def images(image_cache: Path) -> Images:
    return open_images(prepare(DataSettings(classes=3, validation=0.4), 16, seed=0))


@pytest.fixture(scope="module")
def supernet(space: SearchSpace, images: Images) -> Supernet:
    inputs, labels = batch(images, images.rows("train"))
    return evaluation.trained(space, inputs, labels, steps=20, batch_size=BATCH, seed=0)


@pytest.mark.parametrize("recalibrate", [True, False])
def test_both_sides_compute_the_same(space: SearchSpace, images: Images, supernet: Supernet, recalibrate: bool) -> None:
    measured, labels = batch(images, images.rows("validation"))
    recalibration, _ = batch(images, images.recalibration(2 * BATCH))
    weights = {key: value.clone() for key, value in supernet.state_dict().items()}
    work = evaluation.Work(space.specification(), weights, measured, labels, recalibration, BATCH)
    evaluation.begin(work, engine=False)
    generation = evaluation.populations(space, 6, seed=0)["converged"]
    asked = [one.indices for one in generation]
    together = evaluation.together(asked, recalibrate, "float32")
    for layout in (torch.contiguous_format, torch.channels_last):
        plain = evaluation.plain(asked, layout, recalibrate)
        assert plain.top1(labels) == together.top1(labels)
        for mine, theirs in zip(together.logits, plain.logits, strict=True):
            torch.testing.assert_close(mine, theirs, atol=2e-4, rtol=1e-4)
    computed, of = evaluation.nodes(space, generation)
    assert len(set(asked)) <= computed < of == 6 * len(space.choices)


def test_convolutions_are_counted_as_the_space_counts_them(space: SearchSpace, images: Images) -> None:
    measured, labels = batch(images, images.rows("validation"))
    work = evaluation.Work(space.specification(), space.supernet().state_dict(), measured, labels, measured[:0], BATCH)
    evaluation.begin(work, engine=False)
    one = space.architecture([2] * len(space.choices))
    found = evaluation.inside([one.indices])
    (classifier,) = [module for module in space.network(one).modules() if isinstance(module, nn.Linear)]
    convolutions = int(space.costs().cost([one])["macs"]) - classifier.weight.numel()
    assert found.macs == convolutions * len(labels)
    assert 0 < found.arithmetic < found.whole


def test_a_raced_search_is_measured_again_on_all_images(
    space: SearchSpace, images: Images, supernet: Supernet, tmp_path: Path
) -> None:
    setting = searching.Setting(tmp_path, space, images.prepared, population=6, generations=2, seed=0)
    setting.write(supernet)
    exact = EvaluationSettings(batch_size=BATCH, recalibration_images=BATCH, recalibration_batch_size=BATCH)
    raced = exact.changed(precision="bfloat16", racing=RacingSettings())
    judge = setting.local(exact)
    areas = [
        searching.front_area(setting, searching.search(setting, one, setting.local(one)), judge)
        for one in (exact, raced)
    ]
    assert areas[0] == pytest.approx(areas[1], rel=0.1)
    assert searching.search(setting, exact, judge).images() == 1
