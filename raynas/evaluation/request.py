"""The request of a step to its evaluators: which oracle they load, and with which weights."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from raynas.storage.portable import Portable, Reference

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

    def to(self, names: tuple[str, ...], step: str) -> Evaluators:
        """Return the request with the names of the evaluators that get it, and its step."""
        return Evaluators(names=names, step=step, oracle=self.oracle.reference(), weights=self.weights)


class Evaluators(BaseModel):
    """The evaluators of a step, as any process of the run can use them.

    Attributes:
        names: the names of the actors.
        step: the step's name. Each step loads its oracle and weights anew.
        oracle: the oracle that they load for the step.
        weights: the file of the weights in the run folder.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    names: tuple[str, ...]
    step: str
    oracle: Reference
    weights: str | None
