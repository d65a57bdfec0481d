"""Which images a run uses, and for what: chosen class by class, drawn by the seed alone, and written down."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from search_spaces.errors import UserError

# Second words of the seeds, greater than any epoch: what is drawn for one purpose says nothing about another.
_CLASSES, _FRACTION, _VALIDATION, _RECALIBRATION = range(2**31, 2**31 + 4)


@dataclass(frozen=True)
class Selection:
    """The images that a run uses, in the order in which they are cached.

    Attributes:
        indices: numbers within the data set's training images, or within its test images, rising in both.
        labels: indices into the classes that are used.
        train_count: how many of them, from the first, are training images.
    """

    indices: NDArray[np.int64]
    labels: NDArray[np.int64]
    train_count: int

    def sha256(self) -> str:
        digest = hashlib.sha256(str(self.train_count).encode())
        digest.update(self.indices.tobytes())
        digest.update(self.labels.tobytes())
        return digest.hexdigest()


def choose_classes(names: Sequence[str], wanted: int | Sequence[int | str] | None, seed: int) -> list[int]:
    """The indices of the wanted classes, rising: all, so many, drawn by the seed, or the ones named.

    Raises:
        UserError: if there are not so many classes, or none of that name or index.
    """
    if wanted is None:
        return list(range(len(names)))
    if isinstance(wanted, int):
        if wanted > len(names):
            raise UserError(f"data.classes asks for {wanted} classes, and the data set has {len(names)}.")
        drawn = np.random.default_rng([seed, _CLASSES]).choice(len(names), wanted, replace=False)
        return sorted(drawn.tolist())
    chosen = set()
    for name in wanted:
        if isinstance(name, int):
            if not 0 <= name < len(names):
                raise UserError(f"data.classes asks for class {name}; the data set has classes 0 to {len(names) - 1}.")
            chosen.add(name)
        elif name in names:
            chosen.add(names.index(name))
        else:
            near = get_close_matches(name, names, n=1) or names[:1]
            raise UserError(
                f"data.classes asks for {name!r}, which the data set does not have; {near[0]!r} is one it has."
            )
    if len(chosen) < 2:
        raise UserError(
            f"data.classes names one class, {names[chosen.pop()]!r}, over again; a network tells two or more apart."
        )
    return sorted(chosen)


def select(
    labels: NDArray[np.int64],
    train_count: int,
    names: Sequence[str],
    classes: Sequence[int],
    fraction: float,
    seed: int,
) -> Selection:
    """Of these classes, this fraction of each one's training images (at least one) and all test images.

    Args:
        labels: shape (N,), of the training images, then of the test images.
        names: of all classes.

    Raises:
        UserError: if a class has no training image, or none of them has a test image.
    """
    new_label = np.full(len(names), -1)
    new_label[list(classes)] = np.arange(len(classes))
    train, test = labels[:train_count], labels[train_count:]
    kept = []
    members_of = _members(train, len(names))
    for class_index in classes:
        members = members_of[class_index]
        if not len(members):
            raise UserError(
                f"Class {names[class_index]!r} has no training image; give it some, or leave it out by data.classes."
            )
        count = max(1, round(fraction * len(members)))
        kept.append(np.random.default_rng([seed, _FRACTION, class_index]).permutation(members)[:count])
    kept_train = np.sort(np.concatenate(kept))
    kept_test = np.flatnonzero(new_label[test] >= 0)
    if not len(kept_test):
        raise UserError("The data set has no test image of the classes that data.classes asks for.")
    selected_labels = new_label[np.concatenate([train[kept_train], test[kept_test]])]
    return Selection(np.concatenate([kept_train, kept_test]), selected_labels, len(kept_train))


def split(selection: Selection, names: Sequence[str], validation: int | float, seed: int) -> pd.DataFrame:
    """One row an image, in the order of the selection: `index`, `label`, and `part`: train, validation or test.

    Args:
        names: of the selected classes.
        validation: a share of each class's training images, or a number a class.

    Raises:
        UserError: if a class would be left without a training or a validation image.
    """
    parts = np.full(len(selection.labels), "train", dtype=object)
    parts[selection.train_count :] = "test"
    train_labels = selection.labels[: selection.train_count]
    for label, (name, members) in enumerate(zip(names, _members(train_labels, len(names)), strict=True)):
        held_out = validation if isinstance(validation, int) else round(validation * len(members))
        if not 0 < held_out < len(members):
            lacks = "validation" if held_out == 0 else "training"
            raise UserError(
                f"data.validation = {validation} of the {len(members)} training images of class {name!r} leaves it "
                f"without a {lacks} image: use more of the data, or another data.validation."
            )
        parts[np.random.default_rng([seed, _VALIDATION, label]).permutation(members)[:held_out]] = "validation"
    return pd.DataFrame({"index": selection.indices, "label": selection.labels, "part": parts})


def recalibration_rows(train_rows: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """`count` of the training rows, or all where there are fewer, always the same: what batch norm is recomputed on."""
    return np.random.default_rng([seed, _RECALIBRATION]).permutation(train_rows)[:count]


def parts_sha256(table: pd.DataFrame) -> str:
    """SHA-256 of a split's `part` column."""
    return hashlib.sha256(" ".join(table["part"]).encode()).hexdigest()


def _members(labels: NDArray[np.int64], classes: int) -> list[NDArray[np.int64]]:
    """For each class, the places of its labels, rising."""
    ends = np.cumsum(np.bincount(labels, minlength=classes))
    return np.split(np.argsort(labels, kind="stable"), ends[:-1])
