"""Test splits, the cache of a node, batches and augmentation on the digits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from raynas.data import DataSettings, Images, batch, open_images, prepare, training_batch
from raynas.data.splits import Selection, assign_parts, choose_classes, choose_images
from search_spaces.errors import UserError


@pytest.fixture(scope="module")
def digits() -> Images:
    return open_images(prepare(DataSettings(), 32, 0))


def test_split_is_stratified_disjoint_and_complete(digits: Images) -> None:
    table = digits.split
    assert list(table.columns) == ["index", "label", "part"]
    counts = table.groupby(["label", "part"]).size().unstack()
    in_training = counts["train"] + counts["validation"]
    assert (counts["validation"] == (in_training * 0.2).round()).all()
    parts = [digits.rows(part) for part in ("train", "validation", "test")]
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(1797))
    assert np.array_equal(digits.rows("all-training"), np.sort(np.concatenate(parts[:2])))
    assert {part: len(rows) for part, rows in zip(("train", "validation", "test"), parts, strict=True)} == (
        digits.prepared.counts
    )


def test_the_seed_alone_decides_the_split() -> None:
    same, again, other = (prepare(DataSettings(), 8, seed) for seed in (0, 0, 1))
    assert same == again
    assert same.split != other.split
    assert same.selection == other.selection, "all images are used, whatever the seed"


def test_classes_validation_and_fraction_are_counted_exactly() -> None:
    settings = DataSettings(classes=4, fraction=0.5, validation=10)
    prepared = prepare(settings, 8, 3)
    images = open_images(prepared)
    expected = sorted(np.random.default_rng([3, 2**31]).choice(10, 4, replace=False).tolist())
    assert prepared.classes == tuple(str(digit) for digit in expected)
    counts = images.split.groupby(["label", "part"]).size().unstack()
    assert (counts["validation"] == 10).all()
    whole = open_images(prepare(DataSettings(classes=tuple(expected)), 8, 3)).split.groupby(["label", "part"]).size()
    all_counts = whole.unstack()
    assert (counts["train"] == ((all_counts["train"] + all_counts["validation"]) / 2).round() - 10).all()
    assert (counts["test"] == all_counts["test"]).all()


def test_other_classes_do_not_change_the_choice_of_a_class() -> None:
    labels = np.repeat(np.arange(3), 10).astype(np.int64)
    both = np.concatenate([labels, labels])
    names = ["a", "b", "c"]
    few = choose_images(both, 30, names, [0, 2], 0.5, seed=1)
    every_class = choose_images(both, 30, names, [0, 1, 2], 0.5, seed=1)
    assert few.indices[few.labels == 0].tolist() == every_class.indices[every_class.labels == 0].tolist()
    assert few.train_count == 10
    assert set(few.labels.tolist()) == {0, 1}


def test_classes_are_chosen_by_name_and_index() -> None:
    assert choose_classes(["cat", "dog", "hen"], ["hen", 0], 0) == [0, 2]
    assert choose_classes(["cat", "dog", "hen"], None, 0) == [0, 1, 2]
    with pytest.raises(UserError, match="the nearest is 'cat'"):
        choose_classes(["cat", "dog"], ["cats", "dog"], 0)


def test_validation_never_takes_a_test_image() -> None:
    selection = Selection(np.arange(8), np.array([0, 0, 1, 1, 0, 1, 0, 1]), train_count=4)
    parts = assign_parts(selection, ["a", "b"], 1, 0)["part"].tolist()
    assert sorted(parts[:4]) == ["train", "train", "validation", "validation"]
    assert parts[4:] == ["test"] * 4


def test_recalibration_images_are_training_images_and_always_the_same(digits: Images) -> None:
    rows = digits.recalibration_rows(200)
    assert len(set(rows.tolist())) == 200
    assert set(rows.tolist()) <= set(digits.rows("train").tolist())
    assert np.array_equal(rows, digits.recalibration_rows(200))
    assert len(digits.recalibration_rows(10**6)) == len(digits.rows("train"))


def test_a_batch_is_normalised_and_channels_last(digits: Images) -> None:
    rows = digits.rows("train")
    images, labels = batch(digits, rows)
    assert images.shape == (len(rows), 3, 32, 32)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert labels.dtype == torch.long
    assert np.array_equal(labels.numpy(), digits.split["label"].to_numpy()[rows])
    assert images.mean(dim=(0, 2, 3)).abs().max() < 1e-5
    assert (images.std(dim=(0, 2, 3), correction=0) - 1).abs().max() < 1e-5
    pixel = (int(digits.pixels[rows[5], 3, 4, 1]) / 255 - digits.prepared.mean[1]) / digits.prepared.std[1]
    assert images[5, 1, 3, 4].item() == pytest.approx(pixel, abs=1e-5)


def with_augmentation(augment: str) -> Images:
    return open_images(prepare(DataSettings.model_validate({"augment": augment}), 28, 0))


def test_without_augmentation_a_training_batch_is_a_batch() -> None:
    images = with_augmentation("none")
    rows = images.rows("train")[:16]
    assert torch.equal(training_batch(images, rows, 0, 0, 0)[0], batch(images, rows)[0])


@pytest.mark.parametrize("augment", ["crop", "crop-flip"])
def test_every_crop_is_a_window_of_the_padded_image(augment: str) -> None:
    images = with_augmentation(augment)
    rows = images.rows("train")[:64]
    augmented, _ = training_batch(images, rows, 0, 1, 2)
    black = -torch.tensor(images.prepared.mean) / torch.tensor(images.prepared.std)
    offsets, mirrored = set(), 0
    for original, cut in zip(batch(images, rows)[0], augmented, strict=True):
        padded = black[:, None, None].repeat(1, 36, 36)
        padded[:, 4:32, 4:32] = original
        windows = [
            (y, x, mirror)
            for y in range(9)
            for x in range(9)
            for mirror in (False, True)
            if torch.allclose(padded[:, y : y + 28, x : x + 28].flip([2] if mirror else []), cut, atol=1e-5)
        ]
        assert windows, "not a window of the image"
        offsets.add(windows[0][:2])
        mirrored += all(mirror for _, _, mirror in windows)
    assert len(offsets) > 30
    assert mirrored == 0 if augment == "crop" else 16 < mirrored < 48


def test_random_resized_crops_come_from_a_larger_square() -> None:
    images = with_augmentation("random-resized-crop")
    assert images.pixels.shape[1:] == (32, 32, 3)
    rows = images.rows("train")
    plain, _ = batch(images, rows[:8])
    assert plain.shape == (8, 3, 28, 28)
    assert np.array_equal(
        plain[:, 0].numpy(),
        normalised_red(images, rows[:8])[:, 2:30, 2:30],
    )
    augmented, _ = training_batch(images, rows, 0, 1, 2)
    assert augmented.shape == (len(rows), 3, 28, 28)
    assert augmented.is_contiguous(memory_format=torch.channels_last)
    lowest, highest = normalised_red(images, rows).min(), normalised_red(images, rows).max()
    assert lowest - 1e-4 <= augmented.min() <= augmented.max() <= highest + 1e-4


def normalised_red(images: Images, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    pixels = images.pixels[rows][..., 0].astype(np.float32)
    mean, std = (np.float32(value[0]) * np.float32(255) for value in (images.prepared.mean, images.prepared.std))
    return np.asarray((pixels - mean) / std)


@pytest.mark.parametrize("augment", ["crop-flip", "random-resized-crop"])
def test_the_shares_of_a_global_batch_add_up_to_it(augment: str) -> None:
    images = with_augmentation(augment)
    rows = images.rows("train")[:24]
    whole, labels = training_batch(images, rows, 7, 3, 5, cutout=8)
    for share in (slice(0, 12), slice(12, 24), slice(1, None, 2)):
        part, part_labels = training_batch(images, rows, 7, 3, 5, share, cutout=8)
        assert torch.equal(part, whole[share])
        assert torch.equal(part_labels, labels[share])
    torch.rand(3)  # the state of the global generator must not matter
    assert torch.equal(whole, training_batch(images, rows, 7, 3, 5, cutout=8)[0])
    assert not torch.equal(whole, training_batch(images, rows, 7, 3, 6, cutout=8)[0])


def test_cutout_blanks_a_square_of_each_image() -> None:
    images = with_augmentation("none")
    rows = images.rows("train")
    plain, _ = batch(images, rows)
    cut, _ = training_batch(images, rows, 0, 0, 0, cutout=9)
    blank = (cut == 0).all(1)
    assert torch.equal(cut[~blank[:, None].expand_as(cut)], plain[~blank[:, None].expand_as(cut)])
    sizes = blank.sum((1, 2))
    assert sizes.max() == 81
    assert sizes.min() >= 25, "a square on a corner keeps at least 5x5 of its 9x9"
    for mask in blank[:50]:
        assert int(mask.any(0).sum() * mask.any(1).sum()) == int(mask.sum()), "not a rectangle"


_OPEN = """
import json, sys
from raynas.data import open_images
images = open_images(json.loads(sys.argv[1]))
print(int(images.pixels.sum()), len(images.split))
"""


def test_processes_that_start_together_decode_once_and_open_the_same_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYNAS_CACHE", str(tmp_path / "driver"))
    prepared = prepare(DataSettings(), 8, 0)
    images = open_images(prepared)
    environment = os.environ | {"RAYNAS_CACHE": str(tmp_path / "node")}
    command = [sys.executable, "-c", _OPEN, json.dumps(prepared.model_dump(mode="json"))]
    processes = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0].split() for process in processes]
    assert outputs == [[str(int(images.pixels.sum())), "1797"]] * 2
    assert len([path for path in (tmp_path / "node/decoded").iterdir() if path.is_dir()]) == 1


def test_a_node_with_other_data_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data.npz"

    def write(level: int) -> None:
        pixels = np.full((8, 4, 4), level, dtype=np.uint8)
        labels = np.arange(8) % 2
        np.savez(data, x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)

    write(1)
    prepared = prepare(DataSettings(name="npz", path=data, validation=1), 4, 0)
    monkeypatch.setenv("RAYNAS_CACHE", str(tmp_path / "another-node"))
    write(2)
    with pytest.raises(UserError, match="not what the run began with"):
        open_images(prepared)


def test_settings_alone_import_neither_torch_nor_pandas() -> None:
    code = "import sys, raynas.data; print([m for m in ('torch', 'pandas', 'sklearn', 'ray') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
