"""The sets of the measurement: their class counts, their controls, and all test images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.own_images.class_balance import training_rows, write_set
from raynas.data import DataSettings, Images, open_images, prepare


@pytest.fixture(scope="module")
def digits(image_cache: Path) -> Images:
    return open_images(prepare(DataSettings(classes=4), 8, 0))


def counts(digits: Images, kind: str, seed: int = 0) -> list[int]:
    found: list[int] = np.bincount(digits.labels[training_rows(digits, kind, 0.1, seed)]).tolist()
    return found


def test_half_of_the_classes_keeps_a_share_and_the_control_has_as_many_images(digits: Images) -> None:
    whole = np.bincount(digits.labels[digits.rows("all-training")]).tolist()
    unequal = counts(digits, "unequal")
    assert unequal == [whole[0], whole[1], round(whole[2] / 10), round(whole[3] / 10)]
    equal = counts(digits, "equal")
    assert len(set(equal)) == 1
    assert 0 <= sum(unequal) - sum(equal) < 4
    assert counts(digits, "shuffled") == unequal


def test_the_seed_draws_the_images(digits: Images) -> None:
    first, again, other = (training_rows(digits, "unequal", 0.1, seed).tolist() for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_shuffled_labels_keep_their_counts_and_the_test_images_stay(digits: Images, tmp_path: Path) -> None:
    arrays = {}
    for kind in ("unequal", "shuffled"):
        write_set(digits, kind, 0.1, 0, tmp_path / f"{kind}.npz")
        with np.load(tmp_path / f"{kind}.npz") as file:
            arrays[kind] = dict(file)
    true, shuffled = arrays["unequal"], arrays["shuffled"]
    assert np.array_equal(true["x_train"], shuffled["x_train"])
    assert np.array_equal(np.bincount(true["y_train"]), np.bincount(shuffled["y_train"]))
    assert (true["y_train"] != shuffled["y_train"]).any()
    for key in ("x_test", "y_test"):
        assert np.array_equal(true[key], shuffled[key])
    assert len(true["y_test"]) == len(digits.rows("test"))
