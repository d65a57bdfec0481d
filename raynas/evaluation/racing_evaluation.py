"""Racing: stop measuring an architecture that can hardly survive its generation.

A generation is measured in rounds, each with as many images as all rounds before it. All rounds together have the
images that every architecture would get without racing, in a random order. So the images seen are a sample without
replacement, and bound the accuracy on all images.
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
        images: the number of images in all rounds.
        first: the number of images in the first round.
    """

    images: int = Field(ge=1)
    first: int = Field(ge=1)
    racing: RacingSettings

    @classmethod
    def of(cls, settings: EvaluationSettings, images: int) -> Race | None:
        """Return the race over this number of images; None if the settings ask for no racing."""
        racing = settings.racing
        return None if racing is None else cls(images=images, first=settings.batch_size, racing=racing)

    def ends(self) -> list[int]:
        """Return the number of images seen at the end of each round."""
        ends = [self.first]
        while ends[-1] < self.images:
            ends.append(2 * ends[-1])
        return [*ends[:-1], self.images]

    def run(self, pool: EvaluatorPool, architectures: Sequence[Architecture], search: Search) -> list[Evaluation]:
        """Evaluate a generation in rounds. An architecture that cannot survive keeps the figures of its last round.

        Raises:
            StepFailed: if no architecture can be measured.
        """
        running = list(range(len(architectures)))
        evaluations: dict[int, Evaluation] = {}
        ends = self.ends()
        risk = self.racing.risk / (max(len(ends) - 1, 1) * len(architectures))
        for end in ends:
            measure = pool.measure if end == ends[0] else pool.evaluate
            measured = measure([architectures[place] for place in running], images=end)
            evaluations |= dict(zip(running, measured, strict=True))
            if end == self.images:
                break
            so_far = [evaluations[place] for place in range(len(architectures))]
            seen = np.array([evaluation.images for evaluation in so_far])
            correct = np.array([evaluation.top1 for evaluation in so_far]) * seen / 100
            least, most = accuracy_bounds(correct.round(), seen, self.images, risk, self.racing.bound)
            dropped = search.cannot_survive(so_far, least, most)
            running = [place for place in running if not (dropped[place] or evaluations[place].failure)]
            if not running:
                break
        return [evaluations[place] for place in range(len(architectures))]


def accuracy_bounds(
    correct: ArrayLike, seen: ArrayLike, images: int, risk: float, bound: Literal["hypergeometric", "hoeffding"]
) -> tuple[Floats, Floats]:
    """Return the least and the greatest accuracy on all images in per cent, shape (n,) each.

    The true accuracy lies below the least, or above the greatest, with a probability of at most `risk` / 2 each.

    Args:
        correct, seen: the numbers of correct images and of images seen, drawn without replacement; shape (n,) each.
        images: the number of all images.
        bound: `hypergeometric` inverts the exact tails; `hoeffding` is Serfling's, for samples without replacement.
    """
    hits, drawn = np.asarray(correct, dtype=np.float64), np.asarray(seen, dtype=np.float64)
    if bound == "hoeffding":
        left_out = 1 - (drawn - 1) / images
        width = np.sqrt(np.log(2 / risk) * left_out / (2 * np.maximum(drawn, 1)))
        share = hits / np.maximum(drawn, 1)
        least, most = np.floor(images * (share - width)), np.ceil(images * (share + width))
    else:
        from scipy.stats import hypergeom  # takes a second to import, and most searches do not race

        least = _first(lambda total: hypergeom.sf(hits - 1, images, total, drawn) >= risk / 2, hits, images)
        most = _first(lambda total: hypergeom.cdf(hits, images, total, drawn) < risk / 2, hits, images) - 1
    misses = drawn - hits
    return 100 * np.clip(least, hits, None) / images, 100 * np.clip(most, None, images - misses) / images


def _first(holds: Callable[[Floats], ArrayLike], low: Floats, most: int) -> Floats:
    """Return, for each of several conditions, the first whole number from `low` on that meets it, or `most` + 1.

    Bisection: once a condition holds, it holds for all greater numbers.
    """
    low, high = low.copy(), np.full(len(low), most + 1.0)
    while (open_still := low < high).any():
        middle = np.floor((low + high) / 2)
        held = np.asarray(holds(np.minimum(middle, most))) & (middle <= most)
        high, low = np.where(open_still & held, middle, high), np.where(open_still & ~held, middle + 1, low)
    return low
