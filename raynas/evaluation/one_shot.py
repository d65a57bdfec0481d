"""The oracle of one-shot accuracy: a supernet with the weights of a run folder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from raynas.data import open_images
from raynas.data.images import DataPart
from raynas.data.settings import PreparedData
from raynas.evaluation.batch_norm_recalibration import StatisticsCache
from raynas.evaluation.evaluator import AccuracySums, Evaluator
from raynas.evaluation.request import Indices, LoadedOracle, Oracle
from raynas.recipe.settings import EvaluationSettings
from raynas.storage.run_folder import RunFolder
from raynas.storage.weights import supernet_weights
from search_spaces import from_specification


class SupernetOracle(Oracle):
    """One-shot accuracy of sub-networks, with the supernet's weights in a run folder.

    Attributes:
        run: the run folder's URI.
        space: the space's specification. The supernet holds the surviving options.
        part: the part of the images to measure on.
        recalibrate: whether batch norm is recalibrated for every sub-network.
        mixture: weights of all options, shape (choices, options), if their mixture is measured instead of
            sub-networks, with the batch-norm statistics of the mixture itself.
    """

    run: str
    space: dict[str, Any]
    data: PreparedData
    evaluation: EvaluationSettings
    part: DataPart
    recalibrate: bool
    mixture: list[list[float]] | None = None

    def identity(self) -> dict[str, Any]:
        """Return what decides the measurements; the place of the run folder and of the images does not."""
        identity = super().identity()
        settings = {key: value for key, value in identity["settings"].items() if key != "run"}
        return {**identity, "settings": {**settings, "data": self.data.identity()}}

    def load(self) -> LoadedOracle:
        return _LoadedSupernet(self)


class _LoadedSupernet:
    def __init__(self, settings: SupernetOracle) -> None:
        self._run = RunFolder(settings.run)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._space = from_specification(settings.space)
        self._supernet = self._space.supernet()
        self._supernet.to(self._device).to(memory_format=torch.channels_last)
        images = open_images(settings.data)
        self._evaluator = Evaluator(self._space, images, settings.evaluation, self._device, settings.part)
        self._recalibrate = settings.recalibrate
        self._mixture = None if settings.mixture is None else torch.tensor(settings.mixture, device=self._device)
        self._weights: str | None = None
        self._statistics = StatisticsCache()
        self._sums: dict[Indices, AccuracySums] = {}

    def evaluate(
        self, architectures: Sequence[Indices], weights: str | None, images: int | None = None
    ) -> list[dict[str, Any]]:
        """Measure architectures with the weights of a training or a checkpoint.

        If a group of architectures fails, each is measured alone, so that one failure costs no other its figures.
        """
        if weights is not None and weights != self._weights:
            self._load_weights(weights)
        try:
            measured = self._measure(architectures, images)
        except (ArithmeticError, MemoryError, RuntimeError) as error:
            if len(architectures) > 1:
                return [figures for indices in architectures for figures in self.evaluate([indices], weights, images)]
            return [_failure(f"{type(error).__name__}: {error}".splitlines()[0])]
        return [
            figures if math.isfinite(figures["loss"]) else _failure("its loss is not a number") for figures in measured
        ]

    def _load_weights(self, weights: str) -> None:
        tensors = supernet_weights(self._run.read_tensors(weights)[0])
        self._supernet.load_state_dict({key: tensors[key] for key in self._supernet.state_dict()})
        self._weights = weights
        self._statistics, self._sums = StatisticsCache(), {}

    def _measure(self, architectures: Sequence[Indices], images: int | None) -> list[dict[str, Any]]:
        if self._mixture is not None:
            return [self._evaluator.of_mixture(self._supernet, self._mixture)] * len(architectures)
        sums = [self._sums.get(indices, AccuracySums()) for indices in architectures]
        # A restarted evaluator has lost the sums of earlier racing rounds: then all begin again.
        if len({accuracy.images for accuracy in sums}) > 1:
            sums = [AccuracySums()] * len(architectures)
        parsed = [self._space.architecture(indices) for indices in architectures]
        sums = self._evaluator.count(self._supernet, parsed, self._recalibrate, self._statistics, sums, images)
        if images is not None:
            self._sums |= dict(zip(architectures, sums, strict=True))
        return [accuracy.figures() for accuracy in sums]


def _failure(reason: str) -> dict[str, Any]:
    """Return the figures of an architecture that cannot be measured."""
    return {"top1": 0.0, "top5": 0.0, "loss": math.nan, "images": 0, "seconds": 0.0, "failure": reason}
