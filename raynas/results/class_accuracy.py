"""Accuracy by class of a network on the test images: a large class must not hide a small class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raynas.recipe.recipe import read_run_data
from raynas.results.fit_result import read_networks
from raynas.results.outcome import Outcome
from raynas.storage.run_folder import RunFolder
from raynas.storage.step_records import records
from search_spaces.errors import format_count, name_some

SHOWN_CLASSES = 20
"""With more classes than this, reports and model cards show only the classes with the lowest accuracy."""
_NAMED = 5
"""A sentence names at most this number of classes."""


@dataclass(frozen=True)
class ClassAccuracy:
    """The answers of a network to the test images of each class.

    Attributes:
        classes: their names.
        confusion: the images of each class (rows) by the answered class (columns), shape (classes, classes).
    """

    classes: Sequence[str]
    confusion: NDArray[np.int64]

    @classmethod
    def of(cls, classes: Sequence[str], counts: Sequence[Sequence[int]]) -> ClassAccuracy:
        """Return the accuracy of counts `[class, answer, images]`."""
        confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
        labels, answers, images = np.array(counts).T
        confusion[labels, answers] = images
        return cls(classes, confusion)

    @cached_property
    def images(self) -> NDArray[np.int64]:
        """The number of test images of each class, shape (classes,)."""
        images: NDArray[np.int64] = self.confusion.sum(axis=1)
        return images

    @cached_property
    def top1(self) -> NDArray[np.float64]:
        """The accuracy of each class in per cent, shape (classes,); NaN for a class without test images."""
        with np.errstate(invalid="ignore"):
            return 100 * self.confusion.diagonal() / self.images

    @property
    def balanced_top1(self) -> float:
        """The balanced accuracy: the mean of the accuracies of the classes that have test images, in per cent."""
        return float(np.nanmean(self.top1))

    def figures(self) -> dict[str, Any]:
        """Return plain JSON: `balanced_top1`, and `class_top1` by class (None without test images)."""
        class_top1 = [None if math.isnan(value) else value for value in self.top1.tolist()]
        return {"balanced_top1": self.balanced_top1, "class_top1": class_top1}

    def by_accuracy(self) -> list[int]:
        """Return the classes that have test images, the lowest accuracy first."""
        order = np.argsort(self.top1, kind="stable").tolist()
        return [label for label in order if self.images[label]]

    def most_confused(self, most: int) -> list[tuple[int, int, int]]:
        """Return the most frequent wrong answers as (class, answer, images), the most frequent first."""
        wrong = self.confusion * (1 - np.eye(len(self.classes), dtype=np.int64))
        order = np.argsort(-wrong, axis=None, kind="stable")[:most]
        pairs = [(int(label), int(answer)) for label, answer in zip(*np.unravel_index(order, wrong.shape), strict=True)]
        return [(label, answer, int(wrong[label, answer])) for label, answer in pairs if wrong[label, answer]]

    def describe(self) -> str:
        """Return the balanced accuracy and the weakest classes in words."""
        measured = self.by_accuracy()
        least = self.top1[measured[0]]
        text = f"balanced accuracy {self.balanced_top1:.2f} %, the mean over {format_count(len(measured), 'class')}"
        weakest = [label for label in measured if self.top1[label] == least]
        if len(weakest) == len(measured):
            return text
        names = name_some([self.classes[label] for label in weakest], _NAMED)
        images = int(self.images[weakest].sum())
        classes = "class is" if len(weakest) == 1 else "classes are"
        return f"{text}; the weakest {classes} {names}: {least:.2f} % of {format_count(images, 'test image')}"


def tested_answers(folder: RunFolder, step: str) -> list[list[int]]:
    """Return the answers `[class, answer, images]` of the network that a step trained."""
    results = {record["name"]: record["result"] for record in records(folder)}
    answers: list[list[int]] = results[f"{step}-test"]["confusion"]
    return answers


def accuracy_of_best(outcome: Outcome) -> ClassAccuracy | None:
    """Return the accuracy by class of the most accurate network of `raynas fit`, or of the network that the method
    itself trained; None if there is neither.
    """
    folder = RunFolder(outcome.run)
    if networks := read_networks(folder):
        answers = networks[0]["confusion"]
    elif outcome.network_weights is not None:
        steps = records(folder)
        trained = next(step for step in steps if (step["result"] or {}).get("file") == outcome.network_weights)
        answers = tested_answers(folder, trained["name"])
    else:
        return None
    return ClassAccuracy.of(read_run_data(folder).classes, answers)
