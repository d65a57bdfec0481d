"""The request of a step to its evaluators: which oracle they load, and with which weights."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from raynas.storage.portable import Portable

Indices = tuple[int, ...]
"""An architecture by its option indices."""


class LoadedOracle(Protocol):
    """An oracle in the memory of an evaluator."""

    def evaluate(
        self, architectures: Sequence[Indices], weights: str | None, images: int | None = None
    ) -> list[dict[str, Any]]:
        """Measure architectures.

        Args:
            weights: the file of the weights in the run folder.
            images: the number of images, the first of a fixed order; None for all images.

        Returns:
            For each architecture `top1` and `top5` in per cent, `loss` in nats, `images`, `seconds`; and `failure`, the
            reason, if it could not be measured.
        """


class Oracle(Portable):
    """The settings of something that measures architectures."""

    @abstractmethod
    def load(self) -> LoadedOracle:
        """Load the oracle in this process."""


@dataclass(frozen=True)
class EvaluationRequest:
    """An oracle, and the file of the weights in the run folder."""

    oracle: Oracle
    weights: str | None

    def identity(self) -> dict[str, Any]:
        """Return what decides the measurements, as plain JSON."""
        return {"oracle": self.oracle.identity(), "weights": self.weights}
