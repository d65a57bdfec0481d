"""One-shot accuracy of sub-networks with a supernet's weights, in plain torch without Ray."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from raynas.data import Images, batch
from raynas.data.images import DataPart
from raynas.evaluation import prefix_tree
from raynas.evaluation.batch_norm_recalibration import StatisticsCache, recalibrate_tree
from raynas.recipe.settings import EvaluationSettings
from raynas.runtime.process import is_onednn_failure, is_out_of_memory
from search_spaces import Architecture, SearchSpace
from search_spaces.errors import format_count
from search_spaces.supernet import Supernet

Measured = TypeVar("Measured")
_CACHED_BYTES = 1 << 30


@dataclass
class ImageBatches:
    """Normalised batches of some images in a fixed order. Up to 1 GiB of images stay in memory."""

    images: Images
    indices: NDArray[np.int64]
    batch_size: int
    device: torch.device
    _cached: prefix_tree.Batch | None = None

    def __iter__(self) -> Iterator[prefix_tree.Batch]:
        return self.between(0, len(self.indices))

    def between(self, first: int, end: int) -> Iterator[prefix_tree.Batch]:
        """Yield the batches of the images from place `first` to before place `end`."""
        fits = len(self.indices) * 3 * self.images.prepared.resolution**2 * 4 <= _CACHED_BYTES
        if self._cached is None and fits:
            self._cached = self._read(slice(None))
        for start in range(first, end, self.batch_size):
            rows = slice(start, min(start + self.batch_size, end))
            yield self._read(rows) if self._cached is None else (self._cached[0][rows], self._cached[1][rows])

    def halved(self) -> ImageBatches:
        """Return the same images in batches of half the size."""
        return replace(self, batch_size=max(self.batch_size // 2, 1))

    def _read(self, rows: slice) -> prefix_tree.Batch:
        return batch(self.images, self.indices[rows], self.device)


@dataclass
class AccuracySums:
    """Sums over images from which the figures of an architecture follow, and the seconds of the measurement.

    Attributes:
        confusion: the images of each class (rows) by the class that the network answers (columns), shape (classes,
            classes); None if answers are not counted.
    """

    top1: int = 0
    top5: int = 0
    loss: float = 0.0
    images: int = 0
    batch_size: int = 0
    seconds: float = 0.0
    confusion: NDArray[np.int64] | None = None

    def add(self, logits: Tensor, labels: Tensor, counts_answers: bool = False) -> None:
        logits = logits.float()
        answers = logits.topk(min(5, logits.shape[1])).indices
        best = answers == labels[:, None]
        self.top1 += int(best[:, 0].sum())
        self.top5 += int(best.sum())
        self.loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
        self.images += len(labels)
        if counts_answers:
            counts = _count_answers(labels, answers[:, 0], logits.shape[1])
            self.confusion = counts if self.confusion is None else self.confusion + counts

    def figures(self) -> dict[str, Any]:
        """Return the figures of `LoadedOracle.evaluate`."""
        accuracy = {"top1": 100 * self.top1 / self.images, "top5": 100 * self.top5 / self.images}
        answers = None if self.confusion is None else _list_counts(self.confusion)
        return {**asdict(self), **accuracy, "loss": self.loss / self.images, "confusion": answers}


def _count_answers(labels: Tensor, answers: Tensor, classes: int) -> NDArray[np.int64]:
    from sklearn.metrics import confusion_matrix  # takes a second, and searches do not need it

    pair = labels.cpu().numpy(), answers.cpu().numpy()
    matrix: NDArray[np.int64] = confusion_matrix(*pair, labels=np.arange(classes))
    return matrix


def _list_counts(confusion: NDArray[np.int64]) -> list[list[int]]:
    """Return the entries that are not zero, as `[class, answer, images]`."""
    places = np.argwhere(confusion)
    counts: list[list[int]] = np.column_stack([places, confusion[tuple(places.T)]]).tolist()
    return counts


class Evaluator:
    """Measures sub-networks of a supernet on one part of the images.

    Batch norm is recalibrated for every architecture on the same training images: the running statistics of a supernet
    are the statistics of no sub-network (SPOS; PAD-NAS, reference 6.8). Blocks that several architectures share are
    computed once (`raynas.evaluation.prefix_tree`). The boundaries of all batches come from the settings, so an
    architecture has the same figures on every evaluator and in every group.

    On the test images, which no search uses, the answers of each class are counted as well.
    """

    def __init__(
        self,
        space: SearchSpace,
        images: Images,
        settings: EvaluationSettings,
        device: torch.device,
        part: DataPart = "validation",
    ) -> None:
        self.space = space
        self._counts_answers = part == "test"
        rows = images.rows(part)
        if settings.racing is not None:  # the first images must be a fair sample
            rows = np.random.default_rng(images.prepared.seed).permutation(rows)
        self._batches = ImageBatches(images, rows, settings.batch_size, device)
        recalibration = images.recalibration_rows(settings.recalibration_images)
        whole_batches = len(recalibration) // settings.recalibration_batch_size * settings.recalibration_batch_size
        recalibration = recalibration[: whole_batches or None]
        self._recalibration = ImageBatches(images, recalibration, settings.recalibration_batch_size, device)
        is_lower = settings.precision != "float32"
        self._onednn = True
        self._autocast = partial(torch.autocast, device.type, getattr(torch, settings.precision), enabled=is_lower)

    def one_shot(
        self, supernet: Supernet, architectures: Sequence[Architecture], recalibrate: bool = True
    ) -> list[dict[str, Any]]:
        """Measure each architecture with the supernet's weights. The supernet's batch-norm statistics stay unchanged.

        If memory runs out, this and all later batches have half the size.

        Returns:
            The figures of `LoadedOracle.evaluate`.
        """
        return [sums.figures() for sums in self.count(supernet, architectures, recalibrate)]

    @torch.inference_mode()
    def count(
        self,
        supernet: Supernet,
        architectures: Sequence[Architecture],
        recalibrate: bool = True,
        statistics: StatisticsCache | None = None,
        sums: Sequence[AccuracySums] = (),
        images: int | None = None,
    ) -> list[AccuracySums]:
        """Sum the figures of each architecture over the images.

        Args:
            statistics: batch-norm statistics for these weights, from earlier calls; grows.
            sums: the sums so far of each architecture, all of them over equally many images.
            images: the number of images in all, the first ones; None for all images.
        """
        start = time.perf_counter()
        supernet.eval()
        root = prefix_tree.grow(supernet, architectures)
        if recalibrate:
            self._recalibrate(root, StatisticsCache() if statistics is None else statistics)
        begun = sums or [AccuracySums()] * len(architectures)
        end = len(self._batches.indices) if images is None else images

        def measure() -> list[AccuracySums]:
            added = [replace(earlier, batch_size=self._batches.batch_size) for earlier in begun]
            batches = self._batches.between(begun[0].images, end)

            def add(number: int, logits: Tensor, labels: Tensor) -> None:
                added[number].add(logits, labels, self._counts_answers)

            prefix_tree.measure(root, batches, add)
            return added

        measured = self._halving_batches(measure)
        seconds = (time.perf_counter() - start) / len(architectures)
        return [replace(total, seconds=total.seconds + seconds) for total in measured]

    @torch.inference_mode()
    def of_mixture(self, supernet: Supernet, mixture: Tensor) -> dict[str, Any]:
        """Measure the mixture of all options with these weights, with the mixture's own batch-norm statistics."""
        start = time.perf_counter()
        supernet.eval()

        def measure() -> AccuracySums:
            sums = AccuracySums(batch_size=self._batches.batch_size)
            for inputs, labels in self._batches:
                sums.add(supernet.mixed(inputs, mixture), labels, self._counts_answers)
            return sums

        sums = self._halving_batches(measure)
        return replace(sums, seconds=time.perf_counter() - start).figures()

    def _halving_batches(self, measure: Callable[[], Measured]) -> Measured:
        """Measure, and halve the batches as long as memory runs out.

        Once oneDNN could not create a convolution, it may be unable to create any. From then on torch's own
        convolutions are used.
        """
        while True:
            try:
                with self._autocast(), nullcontext() if self._onednn else torch.backends.mkldnn.flags(enabled=False):
                    return measure()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or self._batches.batch_size == 1:
                    raise
                self._onednn = self._onednn and not is_onednn_failure(error)
            gc.collect()  # a circle of frames may still hold features of the failed batch
            self._batches = self._batches.halved()

    def _recalibrate(self, root: prefix_tree.Node, statistics: StatisticsCache) -> None:
        """Give every node of the tree its batch-norm statistics: means over the recalibration batches."""
        statistics.recall(root)
        try:
            with self._autocast():
                recalibrate_tree(root, (inputs for inputs, _ in self._recalibration))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise RuntimeError(
                f"memory ran out with {format_count(self._recalibration.batch_size, 'image')} at once: lower "
                "evaluation.recalibration_batch_size (raynas does not lower it, because it changes the batch-norm "
                "statistics)"
            ) from error
        statistics.keep(root)
