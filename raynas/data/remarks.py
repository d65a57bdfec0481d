"""What people should know of a data set before anything is trained on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from raynas.data.decoded_images import DecodedImages
from search_spaces.errors import format_count, name_some

FEW_IMAGES = 20
UNEQUAL = 3
"""Classes are unequal if the largest has more than this many times the training images of the smallest."""
_LARGE_SHARE = 1.5
"""A class is called large from this multiple of an equal share on, if it also has half of the images."""


def describe_images(table: pd.DataFrame, names: Sequence[str], decoded: DecodedImages) -> str:
    """Return one sentence: images, parts, classes, sizes.

    Args:
        table: `label` and `part` of each image.
    """
    counts = table["part"].value_counts()
    shorter, longer = np.median(decoded.sides, axis=0).astype(int)
    parts = (
        f"{counts.get('train', 0):,} for training, {counts.get('validation', 0):,} for the search to compare networks"
    )
    return (
        f"data: {format_count(len(table), 'image')} of {format_count(len(names), 'class')} "
        f"({parts}, {counts.get('test', 0):,} for the test); the median image has {shorter} x {longer} pixels"
    )


def warn(table: pd.DataFrame, names: Sequence[str], decoded: DecodedImages) -> list[str]:
    """Return a sentence for each thing that may spoil the result.

    - the same image in two parts, or with two classes;
    - classes without test images, or with fewer than 20 training images;
    - a class with most of the images;
    - classes of unequal size;
    - warnings of the decoder.
    """
    warnings = _describe_copies(table, decoded)
    training, test = table[table["part"] != "test"], table[table["part"] == "test"]
    counts = np.bincount(training["label"], minlength=len(names))
    if absent := [name for label, name in enumerate(names) if label not in set(test["label"])]:
        warnings.append(
            f"{_have(absent, 'class')} no test images: the test accuracy says nothing about {name_some(absent, 5)}"
        )
    if few := [f"{name} ({images})" for name, images in zip(names, counts, strict=True) if images < FEW_IMAGES]:
        warnings.append(f"{_have(few, 'class')} fewer than {FEW_IMAGES} training images: {name_some(few, 5)}")
    share = float(counts.max() / counts.sum())
    if share >= 0.5 and share * len(names) >= _LARGE_SHARE:
        warnings.append(
            f"{100 * share:.0f} % of the training images are of the class {names[int(counts.argmax())]}: to "
            "answer with that class always would be right about as often"
        )
    if counts.max() > UNEQUAL * counts.min():
        warnings.append(
            f"the classes have {counts.min():,} to {counts.max():,} training images: look at the balanced accuracy, "
            "and see training.sampler and fit.sampler"
        )
    for text, images in sorted(decoded.warnings.items()):
        warnings.append(f"{format_count(images, 'image')} decoded with the warning: {text}")
    return [f"warning: {text}" for text in warnings]


def _describe_copies(table: pd.DataFrame, decoded: DecodedImages) -> list[str]:
    copies = table.assign(digest=decoded.digests).groupby("digest").filter(lambda same: len(same) > 1)
    if copies.empty:
        return []
    of_image = copies.groupby("digest")
    texts = []
    if two_classes := int((of_image["label"].nunique() > 1).sum()):
        texts.append(f"{format_count(two_classes, 'image')} with two classes: the same image lies in both")
    in_test = of_image["part"].agg(lambda parts: "test" in set(parts) and len(set(parts)) > 1)
    if leaked := int(in_test.sum()):
        texts.append(
            f"{format_count(leaked, 'image')} in the training and in the test part: the test accuracy will be too high"
        )
    held_out = of_image["part"].agg(lambda parts: {"train", "validation"} <= set(parts))
    if shared := int(held_out.sum()):
        texts.append(f"{format_count(shared, 'image')} both for training and for the search to compare networks")
    return texts


def _have(names: Sequence[str], noun: str) -> str:
    return f"{format_count(len(names), noun)} {'has' if len(names) == 1 else 'have'}"
