"""Recalibrate batch norm: give every node of a prefix tree its statistics on training images."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from torch import Tensor

from raynas.evaluation.batch_norm_statistics import BatchNormStatistics
from raynas.evaluation.prefix_tree import Node, Prefix, _borrowed, leading_to, walk


class StatisticsCache:
    """Statistics of prefixes that were walked with the same weights, as many as fit; the oldest are forgotten first."""

    def __init__(self, most_bytes: int = 1 << 28) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[Prefix, list[BatchNormStatistics]] = OrderedDict()
        self._bytes = 0

    def recall(self, root: Node) -> None:
        """Give the nodes of a tree the statistics that are known."""
        for node in root:
            node.statistics = self._kept.get(node.prefix)

    def keep(self, root: Node) -> None:
        for node in root:
            if node.statistics is not None and node.prefix not in self._kept:
                self._kept[node.prefix] = node.statistics
                self._bytes += _nbytes(node.statistics)
        while self._bytes > self._most_bytes:
            self._bytes -= _nbytes(self._kept.popitem(last=False)[1])


def _nbytes(statistics: Sequence[BatchNormStatistics]) -> int:
    return sum(one.nbytes for one in statistics)


def recalibrate_tree(root: Node, batches: Iterable[Tensor]) -> None:
    """Give each node that has none the statistics of its batch norms: their means over the batches."""
    fresh = {
        id(node): [BatchNormStatistics.none_yet(norm) for norm in node.norms]
        for node in root
        if node.statistics is None
    }
    within = leading_to(root, lambda node: id(node) in fresh)

    def before(node: Node) -> None:
        lent = fresh.get(id(node)) or [
            BatchNormStatistics.none_yet(norm) for norm in node.norms
        ]  # thrown away where known
        for norm, one in zip(node.norms, lent, strict=True):
            one.lend(norm)

    if not within:
        return
    with _borrowed(root) as norms:
        for norm in norms:
            norm.momentum = None
            norm.train()
        for images in batches:
            walk(root, (images,), before, lambda node, state: None, within)
    for node in root:
        node.statistics = fresh.get(id(node), node.statistics)
