"""One-shot accuracy of sub-networks with a supernet's weights: pure torch, nothing of Ray."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from raynas.data import Images, batch, open_images
from raynas.data.images import Part
from raynas.evaluation import prefix_tree
from raynas.recipe.recipe import EvaluationSettings, Settings
from raynas.runtime.memory import of_onednn, ran_out
from raynas.storage.run_folder import RunFolder
from raynas.training.checkpoints import supernet_weights
from search_spaces import Architecture, SearchSpace, from_specification
from search_spaces.supernet import Supernet

Measured = TypeVar("Measured")
_KEPT_BYTES = 1 << 30


class Answers(Protocol):
    """What a supernet actor holds: anything that answers for architectures, by their option indices."""

    def evaluate(
        self, asked: Sequence[tuple[int, ...]], weights: str | None, images: int | None = None
    ) -> list[dict[str, Any]]:
        """Of each `top1` and `top5` in per cent, `loss` in nats, `images`, `seconds`; `failed` if it has no figures.

        Args:
            images: on how many, the first in an order that is always the same; on all where it is not given.
        """


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
    _kept: prefix_tree.Batch | None = None

    def __iter__(self) -> Iterator[prefix_tree.Batch]:
        return self.between(0, len(self.indices))

    def between(self, first: int, end: int) -> Iterator[prefix_tree.Batch]:
        """Those of the images from `first` to before `end`, by their places in the order."""
        few = len(self.indices) * 3 * self.images.prepared.resolution**2 * 4 <= _KEPT_BYTES
        if self._kept is None and few:
            self._kept = self._read(slice(None))
        for start in range(first, end, self.batch_size):
            rows = slice(start, min(start + self.batch_size, end))
            yield self._read(rows) if self._kept is None else (self._kept[0][rows], self._kept[1][rows])

    def halved(self) -> Batches:
        """The same images, half as many at once."""
        return replace(self, batch_size=max(self.batch_size // 2, 1))

    def _read(self, rows: slice) -> prefix_tree.Batch:
        return batch(self.images, self.indices[rows], self.device)


@dataclass
class Counts:
    """Sums over images, from which an architecture's figures follow, and what counting took."""

    top1: int = 0
    top5: int = 0
    loss: float = 0.0
    images: int = 0
    batch_size: int = 0
    seconds: float = 0.0

    def add(self, logits: Tensor, labels: Tensor) -> None:
        logits = logits.float()
        best = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
        self.top1 += int(best[:, 0].sum())
        self.top5 += int(best.sum())
        self.loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
        self.images += len(labels)

    def figures(self) -> dict[str, Any]:
        """What `Answers.evaluate` says of an architecture."""
        shares = {"top1": 100 * self.top1 / self.images, "top5": 100 * self.top5 / self.images}
        return {**asdict(self), **shares, "loss": self.loss / self.images}


class Evaluator:
    """Measures sub-networks of a supernet on one part of the data, all that are asked for together.

    Batch norm's statistics are recomputed for every architecture on the same training images before it is measured, as
    the running statistics of a supernet are those of no sub-network (SPOS; PAD-NAS, reference 6.8). What architectures
    have in common is computed once (`raynas.evaluation.prefix_tree`). The boundaries of all batches come from the
    settings, so that the same question has the same answer wherever, and beside whatever, it is asked.
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
        rows = images.rows(part)
        if settings.racing is not None:  # what comes first has to be a fair sample
            rows = np.random.default_rng(images.prepared.seed).permutation(rows)
        self._measured = Batches(images, rows, settings.batch_size, device)
        recalibration = images.recalibration(settings.recalibration_images)
        whole_batches = len(recalibration) // settings.recalibration_batch_size * settings.recalibration_batch_size
        recalibration = recalibration[: whole_batches or None]
        self._recalibration = Batches(images, recalibration, settings.recalibration_batch_size, device)
        lower = settings.precision != "float32"
        self._onednn = True
        self._arithmetic = partial(torch.autocast, device.type, getattr(torch, settings.precision), enabled=lower)

    def one_shot(
        self, supernet: Supernet, architectures: Sequence[Architecture], recalibrate: bool = True
    ) -> list[dict[str, Any]]:
        """The accuracy of each architecture with the supernet's weights; its batch-norm statistics stay as they are.

        Returns:
            What `Answers.evaluate` does. Where memory runs out, half as many images are measured at once, from then on.
        """
        return [one.figures() for one in self.count(supernet, architectures, recalibrate)]

    @torch.inference_mode()
    def count(
        self,
        supernet: Supernet,
        architectures: Sequence[Architecture],
        recalibrate: bool = True,
        memory: prefix_tree.Memory | None = None,
        begun: Sequence[Counts] = (),
        images: int | None = None,
    ) -> list[Counts]:
        """As `one_shot`, of some of the images.

        Args:
            memory: what is known of the statistics with these weights; grows.
            begun: of each architecture what has been counted so far, of all of them on as many images.
            images: on how many to measure, the first ones, with those that have been counted; on all without.
        """
        start = time.perf_counter()
        supernet.eval()
        root = prefix_tree.grow(supernet, architectures)
        if recalibrate:
            self._recalibrate(root, prefix_tree.Memory() if memory is None else memory)
        begun = begun or [Counts()] * len(architectures)
        end = len(self._measured.indices) if images is None else images

        def measure() -> list[Counts]:
            counts = [replace(one, batch_size=self._measured.batch_size) for one in begun]
            batches = self._measured.between(begun[0].images, end)
            prefix_tree.measure(root, batches, lambda number, logits, labels: counts[number].add(logits, labels))
            return counts

        counts = self._halving(measure)
        share = (time.perf_counter() - start) / len(architectures)
        return [replace(one, seconds=one.seconds + share) for one in counts]

    @torch.inference_mode()
    def of_mixture(self, supernet: Supernet, mixture: Tensor) -> dict[str, Any]:
        """The accuracy of the mixture of all options by these weights, with its own statistics."""
        start = time.perf_counter()
        supernet.eval()

        def measure() -> Counts:
            counts = Counts(batch_size=self._measured.batch_size)
            for inputs, labels in self._measured:
                counts.add(supernet.mixed(inputs, mixture), labels)
            return counts

        counts = self._halving(measure)
        return replace(counts, seconds=time.perf_counter() - start).figures()

    def _halving(self, measure: Callable[[], Measured]) -> Measured:
        """What is measured on all images; while memory runs out, with half as many at once.

        Once oneDNN could not create a convolution it may be unable to create any: torch's own are used from then on.
        """
        while True:
            try:
                with self._arithmetic(), nullcontext() if self._onednn else torch.backends.mkldnn.flags(enabled=False):
                    return measure()
            except (RuntimeError, MemoryError) as error:
                if not ran_out(error) or self._measured.batch_size == 1:
                    raise
                self._onednn = self._onednn and not of_onednn(error)
            gc.collect()  # what failed may still hold features, in a circle of frames
            self._measured = self._measured.halved()

    def _recalibrate(self, root: prefix_tree.Node, memory: prefix_tree.Memory) -> None:
        """Give every node of the tree its batch-norm statistics: their means over the recalibration batches."""
        memory.recall(root)
        try:
            with self._arithmetic():
                prefix_tree.calibrate(root, (inputs for inputs, _ in self._recalibration))
        except (RuntimeError, MemoryError) as error:
            if not ran_out(error):
                raise
            raise RuntimeError(
                f"memory ran out with {self._recalibration.batch_size} images at once: lower "
                "evaluation.recalibration_batch_size (it is never lowered unasked: it changes batch norm's statistics)"
            ) from error
        memory.keep(root)


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
        self._memory = prefix_tree.Memory()
        self._begun: dict[tuple[int, ...], Counts] = {}

    def evaluate(
        self, asked: Sequence[tuple[int, ...]], weights: str | None, images: int | None = None
    ) -> list[dict[str, Any]]:
        """Measure architectures with the weights in a file of the run folder: a training's, or a checkpoint's.

        Where one of several cannot be measured, each is measured by itself, so that the others have their figures.
        """
        if weights is not None and weights != self._weights:
            tensors = supernet_weights(self._run.read_tensors(weights)[0])
            self._supernet.load_state_dict({key: tensors[key] for key in self._supernet.state_dict()})
            self._weights = weights
            self._memory, self._begun = prefix_tree.Memory(), {}
        try:
            answers = self._measure(asked, images)
        except (ArithmeticError, MemoryError, RuntimeError) as error:
            if len(asked) > 1:
                return [answer for one in asked for answer in self.evaluate([one], weights, images)]
            return [_failed(f"{type(error).__name__}: {error}".splitlines()[0])]
        return [one if math.isfinite(one["loss"]) else _failed("its loss is not a number") for one in answers]

    def _measure(self, asked: Sequence[tuple[int, ...]], images: int | None) -> list[dict[str, Any]]:
        if self._mixture is not None:
            return [self._evaluator.of_mixture(self._supernet, self._mixture)] * len(asked)
        begun = [self._begun.get(one, Counts()) for one in asked]
        if len({one.images for one in begun}) > 1:  # some were counted by a process that has died since
            begun = [Counts()] * len(asked)
        architectures = [self._space.architecture(indices) for indices in asked]
        counts = self._evaluator.count(self._supernet, architectures, self._recalibrate, self._memory, begun, images)
        if images is not None:
            self._begun |= dict(zip(asked, counts, strict=True))
        return [one.figures() for one in counts]


def _failed(reason: str) -> dict[str, Any]:
    """The answer for an architecture that cannot be measured."""
    return {"top1": 0.0, "top5": 0.0, "loss": math.nan, "images": 0, "seconds": 0.0, "failed": reason}
