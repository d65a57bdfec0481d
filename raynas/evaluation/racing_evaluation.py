"""Racing: an architecture is measured on no more images once it is sure that it cannot survive its generation.

A generation is measured in rounds, each on as many images as all rounds before it. All rounds together have the images
that every architecture is otherwise measured on, in an order of their own: those seen are a sample without replacement,
and bound what an architecture would reach on all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from raynas.recipe.settings import EvaluationSettings, RacingSettings, Settings

if TYPE_CHECKING:
    from raynas.evaluation.actors import EvaluatorPool
    from raynas.interfaces.searcher import Evaluation, Search
    from search_spaces import Architecture

Floats = NDArray[np.float64]


class Race(Settings):
    """The rounds of every generation of a search.

    Attributes:
        images: how many there are in all.
        first: how many the first round has.
    """

    images: int = Field(ge=1)
    first: int = Field(ge=1)
    racing: RacingSettings

    @classmethod
    def of(cls, settings: EvaluationSettings, images: int) -> Race | None:
        """Of so many images in all, if there are to be races."""
        racing = settings.racing
        return None if racing is None else cls(images=images, first=settings.batch_size, racing=racing)

    def ends(self) -> list[int]:
        """How many images have been seen at the end of each round."""
        ends = [self.first]
        while ends[-1] < self.images:
            ends.append(2 * ends[-1])
        return [*ends[:-1], self.images]

    def run(self, pool: EvaluatorPool, architectures: Sequence[Architecture], search: Search) -> list[Evaluation]:
        """An evaluation of each, in the order asked: of those that the search could drop, on the images seen till then.

        Raises:
            StepFailed: if none of them can be measured.
        """
        running = list(range(len(architectures)))
        found: dict[int, Evaluation] = {}
        ends = self.ends()
        share = self.racing.risk / (max(len(ends) - 1, 1) * len(architectures))
        for end in ends:
            asked = [architectures[place] for place in running]
            measure = pool.measure if end == ends[0] else pool.evaluate
            found |= dict(zip(running, measure(asked, images=end), strict=True))
            if end == self.images:
                break
            so_far = [found[place] for place in range(len(architectures))]
            seen = np.array([one.images for one in so_far])
            correct = np.array([one.top1 for one in so_far]) * seen / 100
            least, most = accuracy_bounds(correct.round(), seen, self.images, share, self.racing.bound)
            lost = search.cannot_survive(so_far, least, most)
            running = [place for place in running if not (lost[place] or found[place].failure)]
            if not running:
                break
        return [found[place] for place in range(len(architectures))]


def accuracy_bounds(
    correct: ArrayLike, seen: ArrayLike, images: int, risk: float, bound: Literal["hypergeometric", "hoeffding"]
) -> tuple[Floats, Floats]:
    """The least and the greatest accuracy on all images, in per cent, shape (n,) each.

    The truth lies below the least, or above the greatest, with a probability of at most `risk` / 2 each.

    Args:
        correct, seen: of the images seen, drawn without replacement, how many were right; shape (n,) each.
        images: how many there are in all.
        bound: `hypergeometric` inverts the exact tails; `hoeffding` is Serfling's for samples without replacement.
    """
    right, drawn = np.asarray(correct, dtype=np.float64), np.asarray(seen, dtype=np.float64)
    if bound == "hoeffding":
        left_out = 1 - (drawn - 1) / images
        width = np.sqrt(np.log(2 / risk) * left_out / (2 * np.maximum(drawn, 1)))
        share = right / np.maximum(drawn, 1)
        least, most = np.floor(images * (share - width)), np.ceil(images * (share + width))
    else:
        from scipy.stats import hypergeom  # a second to import, and most searches do not race

        least = _first(lambda total: hypergeom.sf(right - 1, images, total, drawn) >= risk / 2, right, images)
        most = _first(lambda total: hypergeom.cdf(right, images, total, drawn) < risk / 2, right, images) - 1
    wrong = drawn - right
    return 100 * np.clip(least, right, None) / images, 100 * np.clip(most, None, images - wrong) / images


def _first(holds: Callable[[Floats], ArrayLike], low: Floats, most: int) -> Floats:
    """For each of several conditions the first whole number from `low` on from which it holds, or `most` + 1."""
    low, high = low.copy(), np.full(len(low), most + 1.0)
    while (open_still := low < high).any():
        middle = np.floor((low + high) / 2)
        held = np.asarray(holds(np.minimum(middle, most))) & (middle <= most)
        high, low = np.where(open_still & held, middle, high), np.where(open_still & ~held, middle + 1, low)
    return low
