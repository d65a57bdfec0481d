"""Divide the networks of a training step over the workers: whole networks first, then the images of those left over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from raynas.interfaces.objective import MicroBatch

if TYPE_CHECKING:
    from raynas.interfaces.objective import TrainingStep


class SharedNetwork(NamedTuple):
    """A network that a group of workers runs, each on its own images.

    Attributes:
        number: of the network.
        micro_batches: this worker's images.
    """

    number: int
    micro_batches: Sequence[MicroBatch]


def share_networks(networks: int, step: TrainingStep) -> tuple[range, SharedNetwork | None]:
    """Return the networks that this worker runs on all images, and the network whose images it shares, if any.

    With W workers and n networks, each worker runs floor(n / W) whole networks. The workers form as many groups as
    networks are left over, and a group shares the images of one. So a step takes the time of about n / W networks.

    Args:
        step: each worker has all images of the batch.
    """
    left_over = networks % step.workers
    whole = range(step.rank, networks - left_over, step.workers)
    if not left_over:
        return whole, None
    groups = [rank * left_over // step.workers for rank in range(step.workers)]
    group = groups[step.rank]
    part, parts = step.rank - groups.index(group), groups.count(group)
    return whole, SharedNetwork(networks - left_over + group, slice_batches(step.micro_batches, part, parts))


def slice_batches(micro_batches: Sequence[MicroBatch], part: int, parts: int) -> list[MicroBatch]:
    """Return one of `parts` parts of a batch, as equal in size as possible, in slices of its micro-batches."""
    images = sum(len(batch.images) for batch in micro_batches)
    begin, end = part * images // parts, (part + 1) * images // parts
    sliced, first = [], 0
    for batch in micro_batches:
        own = slice(max(begin - first, 0), max(end - first, 0))
        if len(batch.images[own]):
            share = batch.share * len(batch.images[own]) / len(batch.images)
            sliced.append(MicroBatch(batch.images[own], batch.labels[own], share, batch.first + (own.start or 0)))
        first += len(batch.images)
    return sliced
