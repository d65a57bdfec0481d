"""Accuracy by class, against values by hand and those of scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, recall_score

from raynas.results.class_accuracy import ClassAccuracy

LARGE_AND_SMALL = [[0, 0, 98], [0, 1, 2], [1, 0, 4], [1, 1, 1]]
"""100 images of a large class and 5 of a small class: 94.29 % of all are right, but 20 % of the small class."""


def accuracy(classes: list[str], counts: list[list[int]]) -> ClassAccuracy:
    found = ClassAccuracy.of(classes, counts)
    assert found is not None
    return found


def test_a_large_class_does_not_hide_a_small_class() -> None:
    by_class = accuracy(["good", "broken"], LARGE_AND_SMALL)
    assert by_class.images.tolist() == [100, 5]
    assert by_class.figures() == {"balanced_top1": 59.0, "class_top1": [98.0, 20.0]}
    assert by_class.describe() == (
        "balanced accuracy 59.00 %, the mean over 2 classes; the weakest class is broken: 20.00 % of 5 test images"
    )


def test_figures_are_those_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    labels = generator.choice(6, 300, p=[0.5, 0.2, 0.15, 0.1, 0.03, 0.02])
    answers = np.where(generator.random(300) < 0.6, labels, generator.integers(6, size=300))
    matrix = confusion_matrix(labels, answers)
    counts = [[*place, matrix[tuple(place)]] for place in np.argwhere(matrix).tolist()]
    by_class = accuracy([f"class {label}" for label in range(6)], counts)
    assert by_class.confusion.tolist() == matrix.tolist()
    assert by_class.balanced_top1 == pytest.approx(100 * balanced_accuracy_score(labels, answers))
    assert by_class.top1 == pytest.approx(100 * recall_score(labels, answers, average=None))


def test_a_class_without_test_images_has_no_accuracy() -> None:
    by_class = accuracy(["a", "b", "c"], [[0, 0, 1], [0, 2, 1], [1, 1, 4]])
    assert by_class.figures() == {"balanced_top1": 75.0, "class_top1": [50.0, 100.0, None]}
    assert by_class.by_accuracy() == [0, 1]
    assert by_class.describe() == (
        "balanced accuracy 75.00 %, the mean over 2 classes; the weakest class is a: 50.00 % of 2 test images"
    )


def test_all_weakest_classes_are_named_and_none_if_all_are_equal() -> None:
    by_class = accuracy(["a", "b", "c"], [[0, 0, 9], [1, 0, 1], [2, 0, 3]])
    assert by_class.describe().endswith("; the weakest classes are b, c: 0.00 % of 4 test images")
    one = accuracy(["a", "b"], [[0, 0, 9], [1, 0, 1]])
    assert one.describe().endswith("; the weakest class is b: 0.00 % of 1 test image")
    equal = accuracy(["a", "b"], [[0, 0, 9], [1, 1, 2]])
    assert equal.describe() == "balanced accuracy 100.00 %, the mean over 2 classes"


def test_the_most_frequent_wrong_answers_come_first() -> None:
    by_class = accuracy(["a", "b", "c"], [[0, 0, 90], [0, 1, 2], [1, 1, 3], [1, 2, 7], [2, 0, 2]])
    assert by_class.most_confused(2) == [(1, 2, 7), (0, 1, 2)]
    assert by_class.most_confused(9) == [(1, 2, 7), (0, 1, 2), (2, 0, 2)]
