"""The speed benchmark compares equal logits, accuracies and counts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import search_spaces
from benchmarks.speed import evaluation
from benchmarks.speed import search as timed_searches
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
    return evaluation.train_supernet(space, inputs, labels, steps=20, batch_size=BATCH, seed=0)


@pytest.mark.parametrize("recalibrate", [True, False])
def test_the_plain_loop_and_the_evaluator_compute_the_same(
    space: SearchSpace, images: Images, supernet: Supernet, recalibrate: bool
) -> None:
    measured, labels = batch(images, images.rows("validation"))
    recalibration, _ = batch(images, images.recalibration_rows(2 * BATCH))
    weights = {key: value.clone() for key, value in supernet.state_dict().items()}
    work = evaluation.Work(space.specification(), weights, measured, labels, recalibration, BATCH)
    evaluation.load_work(work, as_evaluator=False)
    generation = evaluation.populations(space, 6, seed=0)["converged"]
    keys = [architecture.indices for architecture in generation]
    together = evaluation.evaluate_together(keys, recalibrate, "float32")
    for layout in (torch.contiguous_format, torch.channels_last):
        plain = evaluation.evaluate_plainly(keys, layout, recalibrate)
        assert plain.top1(labels) == together.top1(labels)
        for own, other in zip(together.logits, plain.logits, strict=True):
            torch.testing.assert_close(own, other, atol=2e-4, rtol=1e-4)
    computed, unshared = evaluation.count_blocks(space, generation)
    assert len(set(keys)) <= computed < unshared == 6 * len(space.choices)


def test_convolutions_are_counted_as_the_space_counts_them(space: SearchSpace, images: Images) -> None:
    measured, labels = batch(images, images.rows("validation"))
    work = evaluation.Work(space.specification(), space.supernet().state_dict(), measured, labels, measured[:0], BATCH)
    evaluation.load_work(work, as_evaluator=False)
    architecture = space.architecture([2] * len(space.choices))
    parts = evaluation.break_down([architecture.indices])
    (classifier,) = [module for module in space.network(architecture).modules() if isinstance(module, nn.Linear)]
    convolutions = space.costs().cost([architecture])["macs"].item() - classifier.weight.numel()
    assert parts.macs == convolutions * len(labels)
    assert 0 < parts.arithmetic < parts.whole


def test_the_front_of_a_raced_search_is_measured_again_on_all_images(
    space: SearchSpace, images: Images, supernet: Supernet, tmp_path: Path
) -> None:
    setting = timed_searches.SearchSetting(tmp_path, space, images.prepared, population=6, generations=2, seed=0)
    setting.write(supernet)
    exact = EvaluationSettings(batch_size=BATCH, recalibration_images=BATCH, recalibration_batch_size=BATCH)
    raced = exact.changed(precision="bfloat16", racing=RacingSettings())
    exact_pool = setting.local_pool(exact)
    hypervolumes = []
    for settings in (exact, raced):
        search = timed_searches.search(setting, settings, setting.local_pool(settings))
        hypervolumes.append(timed_searches.front_hypervolume(setting, search, exact_pool))
    assert hypervolumes[0] == pytest.approx(hypervolumes[1], rel=0.1)
    assert timed_searches.search(setting, exact, exact_pool).image_share() == 1
