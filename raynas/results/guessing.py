"""A network that is no better than a guess must be called that."""

from __future__ import annotations

import math
from typing import NamedTuple

_STANDARD_ERRORS = 2


class LargestClass(NamedTuple):
    """The class that most test images have.

    Attributes:
        share: of the test images, from 0 to 1.
    """

    name: str
    share: float


def describe_guess(top1: float, test_images: int, largest: LargestClass) -> str | None:
    """Return a sentence if a network is no better than the same answer to every image; None if it is better.

    It is better if its accuracy exceeds the share of the largest class by more than two standard errors.

    Args:
        top1: on the test images, in per cent.
    """
    error = math.sqrt(largest.share * (1 - largest.share) / test_images)
    if top1 / 100 > largest.share + _STANDARD_ERRORS * error:
        return None
    share, name = f"{100 * largest.share:.2f} %", largest.name
    return (
        f"this network is no better than a guess: {share} of the {test_images:,} test images are of the class {name}, "
        f"and a network that always answers {name} is as good; raise fit.epochs or fit.learning_rate"
    )


def has_top5(classes: int) -> bool:
    """Return whether top-5 accuracy says anything: with five classes or fewer every answer is among the best five."""
    return classes > 5
