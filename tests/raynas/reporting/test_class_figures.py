"""The figures about classes: all classes, or of many the weakest and the most frequent confusions."""

from __future__ import annotations

import numpy as np

from raynas.reporting.class_figures import draw_classes
from raynas.results.class_accuracy import SHOWN_CLASSES, ClassAccuracy


def test_few_classes_have_a_confusion_matrix() -> None:
    accuracy = ClassAccuracy.of(["good", "<b>"], [[0, 0, 98], [0, 1, 2], [1, 0, 4], [1, 1, 1]])
    assert accuracy is not None
    by_class, confusion = draw_classes(accuracy)
    assert by_class.table.to_dict("list") == {"class": ["<b>", "good"], "test_images": [5, 100], "top1": [20.0, 98.0]}
    assert "the weakest class is <b>" in by_class.text
    assert confusion.table.to_dict("list") == {"class": ["good", "<b>"], "good": [98, 4], "<b>": [2, 1]}
    (heat_map,) = confusion.plot.data
    assert np.array(heat_map.z).tolist() == [[98, 2], [80, 20]]
    assert list(heat_map.x) == ["good", "&lt;b&gt;"], "plotly would read tags"


def test_of_many_classes_the_weakest_and_the_most_frequent_confusions_are_shown() -> None:
    counts = [entry for label in range(1, 30) for entry in ([label, label, label], [label, 0, 30 - label])]
    accuracy = ClassAccuracy.of(["equal name"] * 30, [[0, 0, 30], *counts])
    assert accuracy is not None
    by_class, confusion = draw_classes(accuracy)
    assert len(by_class.table) == len(set(by_class.plot.data[0].y)) == SHOWN_CLASSES
    assert "The 20 classes with the lowest accuracy, of 30." in by_class.text
    assert confusion.table["images"].tolist() == list(range(29, 9, -1))
    assert "The 20 most frequent wrong answers" in confusion.text


def test_without_wrong_answers_there_are_no_confusions_of_many_classes() -> None:
    accuracy = ClassAccuracy.of([str(label) for label in range(30)], [[label, label, 2] for label in range(30)])
    assert accuracy is not None
    (by_class,) = draw_classes(accuracy)
    assert by_class.table["top1"].eq(100).all()
