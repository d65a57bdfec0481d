"""Class weights and the balanced sampler, against values by hand; without them nothing changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from raynas.data import DataSettings, Images, open_images, prepare
from raynas.recipe.recipe import Recipe
from raynas.recipe.settings import FitSettings, TrainingSettings
from raynas.training.class_balance import balanced_weights, draw_batches, label_loss
from raynas.training.epoch_schedule import epoch_batches
from search_spaces import UserError

WEIGHTED, SAMPLED = TrainingSettings(class_weights="balanced"), TrainingSettings(sampler="balanced", batch_size=20)


@pytest.fixture(scope="module")
def unequal(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """Images of three classes: 80, 15 and 5 for training, none of them held out by hand."""
    file = tmp_path_factory.mktemp("data") / "images.npz"
    labels = np.repeat([0, 1, 2], [100, 20, 10])
    pixels = np.random.default_rng(0).integers(256, size=(len(labels), 8, 8), dtype=np.uint8)
    np.savez(file, x_train=pixels, y_train=labels, x_test=pixels[::5], y_test=labels[::5])
    return open_images(prepare(DataSettings(name="npz", path=file, validation=0.5, augment="none"), 8, 0))


def test_weights_are_those_by_hand_and_one_in_the_mean() -> None:
    """100 images of 2 classes with 80 and 20: 100 / (2 * 80) and 100 / (2 * 20)."""
    labels = np.repeat([0, 1], [80, 20])
    weights = balanced_weights(labels, 2)
    assert weights.tolist() == [0.625, 2.5]
    assert weights[labels].mean() == 1


def test_the_weighted_loss_is_the_mean_over_the_images(unequal: Images) -> None:
    """50, 10 and 5 images for training: 65 / (3 * 50), 65 / (3 * 10), 65 / (3 * 5). Smoothing is weighted as well."""
    settings = TrainingSettings(class_weights="balanced", label_smoothing=0.1)
    loss = label_loss(settings, unequal, {"train"})
    logits, labels = torch.randn(3, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2])
    log = logits.log_softmax(1)
    smoothed = -0.9 * log[torch.arange(3), labels] - 0.1 * log.mean(1)
    expected = (torch.tensor([65 / 150, 65 / 30, 65 / 15]) * smoothed).mean()
    torch.testing.assert_close(loss(logits, labels), expected)
    parts = (loss(logits[:1], labels[:1]) + 2 * loss(logits[1:], labels[1:])) / 3
    torch.testing.assert_close(parts, expected, msg="micro-batches change nothing")


def test_all_streams_decide_the_weights(unequal: Images) -> None:
    logits, labels = torch.zeros(1, 3), torch.tensor([2])
    both = label_loss(WEIGHTED, unequal, {"train", "validation"})(logits, labels)
    torch.testing.assert_close(both, torch.tensor(np.log(3) * 130 / 30, dtype=torch.float32))


def test_without_weights_the_loss_is_that_of_torch_bit_for_bit(unequal: Images) -> None:
    logits, labels = torch.randn(64, 3), torch.arange(64) % 3
    loss = label_loss(TrainingSettings(label_smoothing=0.1), unequal, {"train"})
    assert torch.equal(loss(logits, labels), functional.cross_entropy(logits, labels, label_smoothing=0.1))


def test_the_balanced_sampler_draws_each_class_equally_often(unequal: Images) -> None:
    batches = draw_batches(SAMPLED, unequal, "train", [7, 0])
    assert batches.shape == (3, 20), "as many images as the part has, in full batches"
    assert set(batches.flat) <= set(unequal.rows("train").tolist())
    counts = np.bincount(unequal.labels[batches].flat)
    assert counts.sum() == 60
    assert abs(counts - 20).max() <= 5, "65 images are drawn, the last five are left out"
    assert len(np.unique(batches[unequal.labels[batches] == 2])) == 5, "the images of a small class come again"


def test_the_drawn_images_follow_from_the_seed_and_the_epoch(unequal: Images) -> None:
    first = draw_batches(SAMPLED, unequal, "train", [7, 0])
    assert np.array_equal(first, draw_batches(SAMPLED, unequal, "train", [7, 0]))
    assert not np.array_equal(first, draw_batches(SAMPLED, unequal, "train", [7, 1]))
    assert not np.array_equal(first, draw_batches(SAMPLED, unequal, "train", [8, 0]))


def test_without_the_sampler_the_batches_are_those_of_before(unequal: Images) -> None:
    settings = TrainingSettings(batch_size=20)
    expected = epoch_batches(unequal.rows("train"), 20, [7, 0])
    assert np.array_equal(draw_batches(settings, unequal, "train", [7, 0]), expected)


@pytest.mark.parametrize("group", ["training", "fit"])
def test_weights_and_sampler_together_are_refused(group: str) -> None:
    changes = [f"{group}.class_weights=balanced", f"{group}.sampler=balanced"]
    with pytest.raises(UserError, match="class_weights and sampler would both balance the classes: set only one"):
        Recipe.read("spos-digits", changes)
    with pytest.raises(ValidationError, match="sampler"):
        FitSettings.model_validate({"sampler": "equal"})


@pytest.mark.parametrize("change", ["training.class_weights=balanced", "training.sampler=balanced"])
def test_only_a_chosen_setting_changes_the_hash_of_a_recipe(change: str) -> None:
    """The values of before are left out, so that runs of before go on."""
    recipe = Recipe.read("spos-digits")
    assert not {"class_weights", "sampler"} & {*recipe.json_value()["training"], *recipe.json_value()["fit"]}
    key, _, _ = change.partition("=")
    default = "none" if key.endswith("weights") else "uniform"
    assert Recipe.read("spos-digits", [f"{key}={default}"]).identity() == recipe.identity()
    changed = Recipe.read("spos-digits", [change])
    assert changed.identity() != recipe.identity()
    assert Recipe.read(changed.json_value()) == changed


def test_the_settings_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(
        "{method: spos, space: nas-bench-macro, training: {sampler: balanced}, fit: {class_weights: balanced}}"
    )
    recipe = Recipe.read(file)
    assert (recipe.training.sampler, recipe.fit.class_weights) == ("balanced", "balanced")
