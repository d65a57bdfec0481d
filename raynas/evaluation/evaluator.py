"""One-shot accuracy of sub-networks with a supernet's weights: pure torch, nothing of Ray."""

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
from search_spaces.supernet import Supernet

Measured = TypeVar("Measured")
_KEPT_BYTES = 1 << 30


@dataclass
class ImageBatches:
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

    def halved(self) -> ImageBatches:
        """The same images, half as many at once."""
        return replace(self, batch_size=max(self.batch_size // 2, 1))

    def _read(self, rows: slice) -> prefix_tree.Batch:
        return batch(self.images, self.indices[rows], self.device)


@dataclass
class AccuracySums:
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
        """What `Oracle.evaluate` says of an architecture."""
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
        part: DataPart = "validation",
    ) -> None:
        self.space = space
        rows = images.rows(part)
        if settings.racing is not None:  # what comes first has to be a fair sample
            rows = np.random.default_rng(images.prepared.seed).permutation(rows)
        self._measured = ImageBatches(images, rows, settings.batch_size, device)
        recalibration = images.recalibration_rows(settings.recalibration_images)
        whole_batches = len(recalibration) // settings.recalibration_batch_size * settings.recalibration_batch_size
        recalibration = recalibration[: whole_batches or None]
        self._recalibration = ImageBatches(images, recalibration, settings.recalibration_batch_size, device)
        lower = settings.precision != "float32"
        self._onednn = True
        self._arithmetic = partial(torch.autocast, device.type, getattr(torch, settings.precision), enabled=lower)

    def one_shot(
        self, supernet: Supernet, architectures: Sequence[Architecture], recalibrate: bool = True
    ) -> list[dict[str, Any]]:
        """The accuracy of each architecture with the supernet's weights; its batch-norm statistics stay as they are.

        Returns:
            What `Oracle.evaluate` does. Where memory runs out, half as many images are measured at once, from then on.
        """
        return [one.figures() for one in self.count(supernet, architectures, recalibrate)]

    @torch.inference_mode()
    def count(
        self,
        supernet: Supernet,
        architectures: Sequence[Architecture],
        recalibrate: bool = True,
        memory: StatisticsCache | None = None,
        begun: Sequence[AccuracySums] = (),
        images: int | None = None,
    ) -> list[AccuracySums]:
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
            self._recalibrate(root, StatisticsCache() if memory is None else memory)
        begun = begun or [AccuracySums()] * len(architectures)
        end = len(self._measured.indices) if images is None else images

        def measure() -> list[AccuracySums]:
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

        def measure() -> AccuracySums:
            counts = AccuracySums(batch_size=self._measured.batch_size)
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
                if not is_out_of_memory(error) or self._measured.batch_size == 1:
                    raise
                self._onednn = self._onednn and not is_onednn_failure(error)
            gc.collect()  # what failed may still hold features, in a circle of frames
            self._measured = self._measured.halved()

    def _recalibrate(self, root: prefix_tree.Node, memory: StatisticsCache) -> None:
        """Give every node of the tree its batch-norm statistics: their means over the recalibration batches."""
        memory.recall(root)
        try:
            with self._arithmetic():
                recalibrate_tree(root, (inputs for inputs, _ in self._recalibration))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise RuntimeError(
                f"memory ran out with {self._recalibration.batch_size} images at once: lower "
                "evaluation.recalibration_batch_size (it is never lowered unasked: it changes batch norm's statistics)"
            ) from error
        memory.keep(root)
