"""What a search is to the engine: something that asks for architectures and is told what they are worth.

A `Searcher` holds settings alone (JSON, so that it can cross a process border); `begin` gives a `Search`, which holds
the state. The loop that drives it knows no algorithm: ask, evaluate, tell, until `ask` returns nothing.
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
    """What the supernet actors answer for one architecture, with its cost.

    Attributes:
        top1: one-shot top-1 accuracy in per cent.
        top5: one-shot top-5 accuracy in per cent.
        loss: mean cross-entropy in nats.
        images: the number of images that the three rest on.
        costs: `macs`, `params` and, where the run has a latency table, `latency_ms`.
        seconds: what answering took.
        feasible: whether the architecture meets the run's budget.
        batch_size: how many images were measured at once: fewer than asked for where memory ran out.
        failure: why it could not be measured; its accuracy counts as 0 then.
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


class Search(ABC):
    """A search under way. `state()` is plain JSON; a new search that is given it goes on draw for draw.

    Attributes:
        generations: how many times `ask` will be called at the most.
        note: why the search ended before its last generation, where it did.
    """

    generations: int
    note: str | None = None

    @abstractmethod
    def ask(self) -> list[Architecture]:
        """The architectures to evaluate next; an empty list ends the search."""

    @abstractmethod
    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Take in what was asked for, in the order asked."""

    def cannot_survive(
        self, evaluations: Sequence[Evaluation], least: NDArray[np.float64], most: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Which of the architectures asked for cannot be of use any more, so that they need not be measured further.

        Args:
            evaluations: what is known so far, in the order asked.
            least, most: the bounds of their accuracies in per cent, shape (architectures,) each.
        """
        return np.zeros(len(evaluations), dtype=np.bool_)

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs, as plain JSON. Called after `tell` alone."""

    @abstractmethod
    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state that an equal searcher wrote."""


class Searcher(Portable):
    """The settings of a search.

    Attributes:
        islands: how many searches, each by a seed of its own, share the supernet actors: while one waits for the last
            answers of a generation, the actors work for the others.
    """

    islands: int = Field(default=1, ge=1)

    @abstractmethod
    def begin(self, space: SearchSpace, costs: Costs, budget: Budget, seed: int) -> Search:
        """A search of `space` at its beginning. Every architecture that it asks for meets `budget`."""
