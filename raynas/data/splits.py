"""Choose the images of a run and divide them into training, validation and test. The seed alone decides."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from search_spaces.errors import UserError, format_count

# Second words of the seeds. They exceed any epoch, so that the draws of two purposes are independent.
_CLASSES, _FRACTION, _VALIDATION, _RECALIBRATION = range(2**31, 2**31 + 4)
TEST = 2**31 + 6


@dataclass(frozen=True)
class Selection:
    """The images that a run uses, in the order of the cache: training images, then test images.

    Attributes:
        indices: the number of each image within the data set's training or test images, ascending in both.
        labels: indices into the chosen classes.
        train_count: the number of training images.
        held_out: whether the data set itself holds a training image out, shape (train_count,); empty if it holds out
            none.
    """

    indices: NDArray[np.int64]
    labels: NDArray[np.int64]
    train_count: int
    held_out: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))

    def sha256(self) -> str:
        digest = hashlib.sha256(str(self.train_count).encode())
        digest.update(self.indices.tobytes())
        digest.update(self.labels.tobytes())
        digest.update(self.held_out.tobytes())
        return digest.hexdigest()


def choose_classes(names: Sequence[str], wanted: int | Sequence[int | str] | None, seed: int) -> list[int]:
    """Return the indices of the wanted classes in ascending order.

    Args:
        wanted: None for all classes, a number of classes to draw by the seed, or a list of names or indices.

    Raises:
        UserError: if there are fewer classes, or no class has this name or index.
    """
    if wanted is None:
        return list(range(len(names)))
    if isinstance(wanted, int):
        if wanted > len(names):
            raise UserError(
                f"data.classes asks for {format_count(wanted, 'class')}, and the data set has {len(names)}. Lower it."
            )
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
                f"data.classes asks for {name!r}, which the data set does not have; the nearest is {near[0]!r}."
            )
    if len(chosen) < 2:
        raise UserError(
            f"data.classes lists only the class {names[chosen.pop()]!r}; a network needs at least two. Add another."
        )
    return sorted(chosen)


def choose_images(
    labels: NDArray[np.int64],
    train_count: int,
    names: Sequence[str],
    classes: Sequence[int],
    fraction: float,
    seed: int,
    held_out: Collection[int] = (),
    without: Collection[int] = (),
) -> Selection:
    """Choose a fraction of each class's training images (at least one image) and all test images.

    Args:
        labels: shape (N,): the labels of the training images, then of the test images.
        names: the names of all classes.
        classes: the indices of the classes to use.
        held_out: the training images that the data set itself holds out for the search.
        without: the numbers of images that are never chosen.

    Raises:
        UserError: if a class has no training image, or if there is no test image at all.
    """
    new_label = np.full(len(names), -1)
    new_label[list(classes)] = np.arange(len(classes))
    train, test = labels[:train_count], labels[train_count:]
    left_out = np.zeros(len(labels), dtype=bool)
    left_out[list(without)] = True
    kept = []
    rows_of_class = _rows_by_class(train, len(names))
    for class_index in classes:
        members = rows_of_class[class_index]
        members = members[~left_out[members]]
        if not len(members):
            raise UserError(
                f"Class {names[class_index]!r} has no training image; add some, or leave it out with data.classes."
            )
        count = max(1, round(fraction * len(members)))
        kept.append(np.random.default_rng([seed, _FRACTION, class_index]).permutation(members)[:count])
    kept_train = np.sort(np.concatenate(kept))
    kept_test = np.flatnonzero((new_label[test] >= 0) & ~left_out[train_count:])
    if not len(kept_test):
        raise UserError("The data set has no test image of the chosen classes. Add some, or change data.classes.")
    selected_labels = new_label[np.concatenate([train[kept_train], test[kept_test]])]
    own = np.isin(kept_train, list(held_out)) if held_out else np.zeros(0, dtype=bool)
    return Selection(np.concatenate([kept_train, kept_test]), selected_labels, len(kept_train), own)


def assign_parts(selection: Selection, names: Sequence[str], validation: int | float, seed: int) -> pd.DataFrame:
    """Return one row for each image, in the order of the selection, with `index`, `label` and `part`.

    The part is `train`, `validation` or `test`.

    Args:
        names: the names of the selected classes.
        validation: a share of each class's training images, or a number of images of each class.

    Raises:
        UserError: if a class would have no training image or no validation image.
    """
    parts = np.full(len(selection.labels), "train", dtype=object)
    parts[selection.train_count :] = "test"
    train_labels = selection.labels[: selection.train_count]
    if len(selection.held_out):
        held_out = np.flatnonzero(selection.held_out)
        without = set(range(len(names))) - set(train_labels[~selection.held_out].tolist())
        if without:
            raise UserError(f"Class {names[min(without)]!r} has validation images alone. Add training images of it.")
    else:
        held_out, _ = draw_by_class(
            train_labels, names, validation, [seed, _VALIDATION], "data.validation", "validation"
        )
    parts[held_out] = "validation"
    return pd.DataFrame({"index": selection.indices, "label": selection.labels, "part": parts})


def draw_by_class(
    labels: NDArray[np.int64], names: Sequence[str], amount: int | float, seeds: Sequence[int], key: str, part: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hold images of each class out. Returns their rows, and the rows of the others, both ascending.

    Args:
        amount: a share of each class's images, or a number of images of each class.
        seeds: they decide the draw, with the class.
        key, part: the setting of the amount and the name of the part, for the error.

    Raises:
        UserError: if a class would have no image in one of both.
    """
    drawn = []
    for label, (name, members) in enumerate(zip(names, _rows_by_class(labels, len(names)), strict=True)):
        count = amount if isinstance(amount, int) else round(amount * len(members))
        if not 0 < count < len(members):
            lacks, change = (part, "Raise") if count == 0 else ("training", "Lower")
            raise UserError(
                f"{key} = {amount} leaves class {name!r} without a {lacks} image: it has "
                f"{format_count(len(members), 'image')}. {change} {key}, or add images of the class."
            )
        drawn.append(np.random.default_rng([*seeds, label]).permutation(members)[:count])
    held_out = np.sort(np.concatenate(drawn))
    return held_out, np.setdiff1d(np.arange(len(labels)), held_out)


def draw_recalibration_rows(train_rows: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Draw `count` training rows for batch-norm statistics, or return all if there are fewer. The seed decides."""
    return np.random.default_rng([seed, _RECALIBRATION]).permutation(train_rows)[:count]


def hash_parts(table: pd.DataFrame) -> str:
    """Return the SHA-256 of the column `part` of a split."""
    return hashlib.sha256(" ".join(table["part"]).encode()).hexdigest()


def _rows_by_class(labels: NDArray[np.int64], classes: int) -> list[NDArray[np.int64]]:
    """Return the rows of each class in ascending order."""
    ends = np.cumsum(np.bincount(labels, minlength=classes))
    return np.split(np.argsort(labels, kind="stable"), ends[:-1])
