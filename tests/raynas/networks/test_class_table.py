"""The classes in a model card: all with all answers, or of many the weakest."""

from __future__ import annotations

from raynas.networks.class_table import format_classes
from raynas.results.class_accuracy import SHOWN_CLASSES, ClassAccuracy


def test_few_classes_have_all_their_answers() -> None:
    accuracy = ClassAccuracy.of(["good", "a|b"], [[0, 0, 98], [0, 1, 2], [1, 0, 4], [1, 1, 1]])
    assert accuracy is not None
    assert format_classes(accuracy).splitlines()[1:] == [
        "## Accuracy by class",
        "",
        "Balanced accuracy 59.00 %, the mean over 2 classes; the weakest class is a|b: 20.00 % of 5 test images.",
        "",
        "| class | test images | top-1 | answered good | answered a\\|b |",
        "| --- | --- | --- | --- | --- |",
        "| good | 100 | 98.00 % | 98 | 2 |",
        "| a\\|b | 5 | 20.00 % | 4 | 1 |",
    ]


def test_of_many_classes_the_weakest_are_shown() -> None:
    """Class c of 30 has c right answers, and the other 30 - c images are taken for class 0; class 29 has no images."""
    counts = [entry for label in range(1, 29) for entry in ([label, label, label], [label, 0, 30 - label])]
    accuracy = ClassAccuracy.of([f"kind {label}" for label in range(30)], [[0, 0, 30], *counts])
    assert accuracy is not None
    lines = format_classes(accuracy).splitlines()
    assert "The 20 classes with the lowest accuracy, of 30. The card in JSON has all answers." in lines
    rows = [line for line in lines if line.startswith("| kind")]
    assert len(rows) == SHOWN_CLASSES
    assert rows[0] == "| kind 1 | 30 | 3.33 % | kind 0 (29) |"
    assert rows[-1] == "| kind 20 | 30 | 66.67 % | kind 0 (10) |"
