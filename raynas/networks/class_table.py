"""Accuracy by class in a model card for people."""

from __future__ import annotations

from raynas.results.class_accuracy import SHOWN_CLASSES, ClassAccuracy
from search_spaces.errors import format_count


def format_classes(accuracy: ClassAccuracy) -> str:
    """Return a section of Markdown: each class with its answers.

    With more than `SHOWN_CLASSES` classes: the classes with the lowest accuracy and their most frequent wrong answers.
    """
    text = accuracy.describe()
    lines = ["", "## Accuracy by class", "", f"{text[0].upper()}{text[1:]}.", ""]
    many = len(accuracy.classes) > SHOWN_CLASSES
    return "\n".join([*lines, *(_worst_rows(accuracy) if many else _rows(accuracy)), ""])


def _rows(accuracy: ClassAccuracy) -> list[str]:
    names = [_escape(name) for name in accuracy.classes]
    header = ["class", "test images", "top-1", *(f"answered {name}" for name in names)]
    rows = [
        [name, *_figures(accuracy, label), *map(str, accuracy.confusion[label])] for label, name in enumerate(names)
    ]
    return _table(header, rows)


def _worst_rows(accuracy: ClassAccuracy) -> list[str]:
    worst = accuracy.by_accuracy()[:SHOWN_CLASSES]
    rows = [
        [_escape(accuracy.classes[label]), *_figures(accuracy, label), _most_frequent_wrong(accuracy, label)]
        for label in worst
    ]
    classes, shown = len(accuracy.classes), len(worst)
    weakest = f"The {format_count(shown, 'class')} with the lowest accuracy, of {classes:,}."
    text = f"{weakest} The card in JSON has all answers."
    return [text, "", *_table(["class", "test images", "top-1", "most frequent wrong answer"], rows)]


def _figures(accuracy: ClassAccuracy, label: int) -> list[str]:
    images = int(accuracy.images[label])
    return [f"{images:,}", f"{accuracy.top1[label]:.2f} %" if images else ""]


def _most_frequent_wrong(accuracy: ClassAccuracy, label: int) -> str:
    counts = accuracy.confusion[label].copy()
    counts[label] = 0
    answer = int(counts.argmax())
    return f"{_escape(accuracy.classes[answer])} ({counts[answer]:,})" if counts[answer] else ""


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _escape(name: str) -> str:
    return name.replace("|", r"\|")
