"""One-shot accuracy of sub-networks with a supernet's weights: pure torch, nothing of Ray."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from raynas.data import Images, batch, open_images
from raynas.data.images import Part
from raynas.memory import ran_out
from raynas.recipe import EvaluationSettings, Settings
from raynas.run_folder import RunFolder
from raynas.training.checkpoints import supernet_weights
from search_spaces import Architecture, SearchSpace, from_specification
from search_spaces.supernet import Supernet

_KEPT_BYTES = 1 << 30


class Answers(Protocol):
    """What a supernet actor holds: anything that answers for architectures, by their option indices."""

    def evaluate(self, indices: Sequence[int], weights: str | None) -> dict[str, Any]:
        """`top1` and `top5` in per cent, `loss` in nats, `images`, `seconds`; `failed` where it cannot be measured."""


class Question(Settings):
    """Who answers, and with which weights.

    Attributes:
        answers: the import path of an `Answers` class.
        arguments: what it is built from, as plain JSON.
        weights: the file of the weights in the run folder.
    """

    answers: str
    arguments: dict[str, Any]
    weights: str | None


@dataclass
class Batches:
    """Normalised batches of some images, in a fixed order; kept in memory where they are few."""

    images: Images
    indices: NDArray[np.int64]
    batch_size: int
    device: torch.device
    _kept: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self._kept:
            yield from self._kept
            return
        bounds = range(0, len(self.indices), self.batch_size)
        batches = (batch(self.images, self.indices[i : i + self.batch_size], self.device) for i in bounds)
        if len(self.indices) * 3 * self.images.prepared.resolution**2 * 4 <= _KEPT_BYTES:
            self._kept = list(batches)
            yield from self._kept
        else:
            yield from batches

    def halved(self) -> Batches:
        """The same images, half as many at once."""
        return Batches(self.images, self.indices, max(self.batch_size // 2, 1), self.device)


class Evaluator:
    """Measures sub-networks of a supernet on one part of the data.

    Batch norm's statistics are recomputed for every architecture on the same training images before it is measured, as
    the running statistics of a supernet are those of no sub-network (SPOS; PAD-NAS, reference 6.8). The boundaries of
    all batches come from the settings, so that the same question has the same answer wherever it is asked.
    """

    def __init__(
        self,
        space: SearchSpace,
        images: Images,
        settings: EvaluationSettings,
        device: torch.device,
        part: Part = "validation",
    ) -> None:
        self.space = space
        self._measured = Batches(images, images.rows(part), settings.batch_size, device)
        recalibration = images.recalibration(settings.recalibration_images)
        whole_batches = len(recalibration) // settings.recalibration_batch_size * settings.recalibration_batch_size
        recalibration = recalibration[: whole_batches or None]
        self._recalibration = Batches(images, recalibration, settings.recalibration_batch_size, device)

    @torch.inference_mode()
    def one_shot(
        self,
        supernet: Supernet,
        architecture: Architecture,
        recalibrate: bool = True,
        mixture: Tensor | None = None,
    ) -> dict[str, Any]:
        """One architecture's accuracy with the supernet's weights; its batch-norm statistics are changed in place.

        Args:
            mixture: weights of all options, where their mixture is measured instead.

        Returns:
            What `Answers.evaluate` does. Where memory runs out, half as many images are measured at once, from then on.
        """
        start = time.perf_counter()
        if recalibrate:
            self._recalibrate(supernet, architecture)
        supernet.eval()
        while (answer := self._measure(supernet, architecture, mixture)) is None:
            self._measured = self._measured.halved()
        return {**answer, "batch_size": self._measured.batch_size, "seconds": time.perf_counter() - start}

    def _measure(self, supernet: Supernet, architecture: Architecture, mixture: Tensor | None) -> dict[str, Any] | None:
        """The figures over all images, or None where fewer at once may yet fit into memory."""
        try:
            return self._counted(supernet, architecture, mixture)
        except (RuntimeError, MemoryError) as error:
            if not ran_out(error) or self._measured.batch_size == 1:
                raise
        return None

    def _counted(self, supernet: Supernet, architecture: Architecture, mixture: Tensor | None) -> dict[str, Any]:
        top1 = top5 = images = 0
        loss = 0.0
        for inputs, labels in self._measured:
            logits = supernet(inputs, architecture) if mixture is None else supernet.mixed(inputs, mixture)
            logits = logits.float()
            best = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
            top1 += int(best[:, 0].sum())
            top5 += int(best.sum())
            loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
            images += len(labels)
        return {
            "top1": 100 * top1 / images,
            "top5": 100 * top5 / images,
            "loss": loss / images,
            "images": images,
        }

    def _recalibrate(self, supernet: Supernet, architecture: Architecture) -> None:
        """Replace the path's batch-norm statistics by their mean over the recalibration batches."""
        norms = [
            module
            for part in supernet.path_modules(architecture)
            for module in part.modules()
            if isinstance(module, nn.BatchNorm2d)
        ]
        momenta = [norm.momentum for norm in norms]
        supernet.eval()
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
            norm.train()
        try:
            for inputs, _ in self._recalibration:
                supernet(inputs, architecture)
        except (RuntimeError, MemoryError) as error:
            if not ran_out(error):
                raise
            raise RuntimeError(
                f"memory ran out with {self._recalibration.batch_size} images at once: lower "
                "evaluation.recalibration_batch_size (it is never lowered unasked: it changes batch norm's statistics)"
            ) from error
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


class SupernetAnswers:
    """A supernet that answers from a run folder: what a supernet actor holds. Its arguments are plain JSON."""

    def __init__(
        self,
        run: str,
        space: dict[str, Any],
        data: dict[str, Any],
        settings: dict[str, Any],
        part: Part,
        recalibrate: bool,
        mixture: list[list[float]] | None = None,
    ) -> None:
        self._run = RunFolder(run)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._space = from_specification(space)
        self._supernet = self._space.supernet()
        self._supernet.to(self._device).to(memory_format=torch.channels_last)
        self._evaluator = Evaluator(
            self._space, open_images(data), EvaluationSettings.model_validate(settings), self._device, part
        )
        self._recalibrate = recalibrate
        self._mixture = None if mixture is None else torch.tensor(mixture, device=self._device)
        self._weights: str | None = None

    def evaluate(self, indices: Sequence[int], weights: str | None) -> dict[str, Any]:
        """Measure one architecture with the weights in a file of the run folder: a training's, or a checkpoint's."""
        if weights is not None and weights != self._weights:
            tensors = supernet_weights(self._run.read_tensors(weights)[0])
            self._supernet.load_state_dict({key: tensors[key] for key in self._supernet.state_dict()})
            self._weights = weights
        architecture = self._space.architecture(indices)
        try:
            answer = self._evaluator.one_shot(self._supernet, architecture, self._recalibrate, self._mixture)
        except (ArithmeticError, MemoryError, RuntimeError) as error:
            return _failed(f"{type(error).__name__}: {error}".splitlines()[0])
        return answer if math.isfinite(answer["loss"]) else _failed("its loss is not a number")


def _failed(reason: str) -> dict[str, Any]:
    """The answer for an architecture that cannot be measured."""
    return {"top1": 0.0, "top5": 0.0, "loss": math.nan, "images": 0, "seconds": 0.0, "failed": reason}
