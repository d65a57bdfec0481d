"""What people should know of a data set before anything is trained on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from raynas.data.decoded_images import DecodedImages
from search_spaces.errors import name_some

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
    parts = f"{counts.get('train', 0):,} for training, {counts.get('validation', 0):,} held out for the search"
    return (
        f"data: {len(table):,} images of {len(names):,} classes ({parts}, {counts.get('test', 0):,} for the test), "
        f"{shorter} x {longer} pixels in the median"
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
            f"{_some(absent, 'class', 'classes')} without test images: the test accuracy says nothing of it"
        )
    if few := [f"{name} ({count})" for name, count in zip(names, counts, strict=True) if count < FEW_IMAGES]:
        warnings.append(f"{_some(few, 'class', 'classes')} with fewer than {FEW_IMAGES} training images")
    share = float(counts.max() / counts.sum())
    if share >= 0.5 and share * len(names) >= _LARGE_SHARE:
        warnings.append(
            f"{100 * share:.0f} % of the training images are of the class {names[int(counts.argmax())]}: compare the "
            "accuracy with that share"
        )
    if counts.max() > UNEQUAL * counts.min():
        warnings.append(
            f"the classes have {counts.min():,} to {counts.max():,} training images: look at the balanced accuracy, "
            "and see training.sampler and fit.sampler"
        )
    for text, count in sorted(decoded.warnings.items()):
        warnings.append(f"{_images(count)} decoded with the warning: {text}")
    return [f"warning: {text}" for text in warnings]


def _describe_copies(table: pd.DataFrame, decoded: DecodedImages) -> list[str]:
    copies = table.assign(digest=decoded.digests).groupby("digest").filter(lambda same: len(same) > 1)
    if copies.empty:
        return []
    of_image = copies.groupby("digest")
    texts = []
    if two_classes := int((of_image["label"].nunique() > 1).sum()):
        texts.append(f"{_images(two_classes)} with two classes")
    in_test = of_image["part"].agg(lambda parts: "test" in set(parts) and len(set(parts)) > 1)
    if leaked := int(in_test.sum()):
        texts.append(f"{_images(leaked)} in the training and in the test part: the test accuracy is too high")
    held_out = of_image["part"].agg(lambda parts: {"train", "validation"} <= set(parts))
    if shared := int(held_out.sum()):
        texts.append(f"{_images(shared)} in the training part and in the part that is held out for the search")
    return texts


def _images(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"


def _some(names: Sequence[str], one: str, many: str) -> str:
    return f"{len(names):,} {one if len(names) == 1 else many} ({name_some(names, 5)})"
