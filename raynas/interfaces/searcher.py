"""The interface of searches: a search proposes architectures, and gets their evaluations.

A `Searcher` holds settings alone, so it can cross a process border. `begin` returns a `Search`, which holds the state.
The loop that drives it knows no algorithm: ask, evaluate, tell, until `ask` returns nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from raynas.storage.portable import Portable

if TYPE_CHECKING:
    from search_spaces import Architecture, Budget, Costs, SearchSpace


@dataclass(frozen=True)
class Evaluation:
    """The figures of one architecture.

    Attributes:
        top1, top5: one-shot accuracy in per cent.
        loss: mean cross-entropy in nats.
        images: the number of images behind `top1`, `top5` and `loss`.
        costs: `macs`, `params`, and `latency_ms` if the run has a latency table.
        seconds: the time of the measurement.
        feasible: whether the architecture meets the run's budget.
        batch_size: images in one forward pass; below `evaluation.batch_size` if memory ran out.
        failure: why the architecture could not be measured; its accuracy counts as 0 then.
        confusion: on the test images `[class, answer, images]`, for each answer that a class gets; otherwise None.
    """

    architecture: Architecture
    top1: float
    top5: float
    loss: float
    images: int
    costs: dict[str, float]
    seconds: float
    feasible: bool = True
    batch_size: int | None = None
    failure: str | None = None
    confusion: list[list[int]] | None = None


class Search(ABC):
    """A search under way. `state()` is plain JSON; a new search restored from it makes the same draws.

    Attributes:
        generations: the greatest number of calls of `ask`.
        note: why the search ended before its last generation; None if it did not.
    """

    generations: int
    note: str | None = None

    @abstractmethod
    def ask(self) -> list[Architecture]:
        """Return the next architectures to evaluate. An empty list ends the search."""

    @abstractmethod
    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Take the evaluations of the architectures of the last `ask`, in the same order."""

    def cannot_survive(
        self, evaluations: Sequence[Evaluation], least: NDArray[np.float64], most: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Return which architectures of the last `ask` need no more images, because they cannot survive.

        Args:
            evaluations: the figures so far, in the order of `ask`.
            least, most: bounds of the accuracies in per cent, shape (architectures,) each.

        Returns:
            Shape (architectures,).
        """
        return np.zeros(len(evaluations), dtype=np.bool_)

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return everything that `restore` needs, as plain JSON. Only called after `tell`."""

    @abstractmethod
    def restore(self, state: dict[str, Any]) -> None:
        """Go on from the state of a search with equal settings."""


class Searcher(Portable):
    """The settings of a search.

    Attributes:
        islands: the number of searches, each with a seed of its own, that share the evaluators. While one search waits
            for the last figures of a generation, the evaluators work for the others.
    """

    islands: int = Field(default=1, ge=1)

    @abstractmethod
    def begin(self, space: SearchSpace, costs: Costs, budget: Budget, seed: int) -> Search:
        """Begin a search of a space. Every architecture that the search asks for meets the budget."""
