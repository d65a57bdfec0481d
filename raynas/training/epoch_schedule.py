"""The schedule of an epoch: its shuffled images, and which updates each training step makes with which batch."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from raynas.interfaces.objective import WEIGHTS, Update

EpochBatches = Mapping[str, NDArray[np.int64]]
"""The rows of an epoch's images by stream, shape (batches, batch_size)."""


class EpochSchedule:
    """The training steps of an epoch, pass after pass.

    Attributes:
        steps: the number of training steps.
        weight_steps: the number of training steps that move the supernet's weights.
    """

    def __init__(self, passes: Sequence[Sequence[Update]], batches: EpochBatches, most: int | None = None) -> None:
        """`most` is the greatest number of training steps of a pass."""
        self._passes = passes
        self._batches = batches
        moving = [[update for update in updates if update.parameters == WEIGHTS] for updates in passes]
        lengths = [
            len(batches[(weights or updates)[0].stream][:most]) for weights, updates in zip(moving, passes, strict=True)
        ]
        moves = [length if weights else 0 for weights, length in zip(moving, lengths, strict=True)]
        self._starts = [0, *accumulate(lengths)]
        self._moves = [0, *accumulate(moves)]
        self.steps = self._starts[-1]
        self.weight_steps = self._moves[-1]

    def at(self, step: int) -> list[tuple[Update, NDArray[np.int64], NDArray[np.int64] | None]]:
        """Return the updates of a training step, each with the rows of its batch and of its second batch.

        The rows have shape (batch_size,); None if the update has no second stream.
        """
        number, place = self._place(step)
        batches = {stream: _repeat(self._batches[stream], place) for stream in self._batches}
        return [
            (update, batches[update.stream], batches[update.beside] if update.beside else None)
            for update in self._passes[number]
        ]

    def weight_step(self, step: int) -> int:
        """Return how many training steps of the epoch moved the weights before this step."""
        number, place = self._place(step)
        return min(self._moves[number] + place, self._moves[number + 1])

    def _place(self, step: int) -> tuple[int, int]:
        number = bisect_right(self._starts, step) - 1
        return number, step - self._starts[number]


def _repeat(batches: NDArray[np.int64], place: int) -> NDArray[np.int64]:
    rows: NDArray[np.int64] = batches[place % len(batches)]
    return rows


def epoch_batches(rows: NDArray[np.int64], batch_size: int, seed: Sequence[int]) -> NDArray[np.int64]:
    """Return an epoch's rows in random order, shape (steps, batch_size). An incomplete last batch is left out."""
    order = np.random.default_rng(seed).permutation(rows)
    steps = len(order) // batch_size
    return order[: steps * batch_size].reshape(steps, batch_size)
