"""Batch-norm recalibration: the statistics of every sub-network, computed on training images."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from torch import Tensor

from raynas.evaluation.batch_norm_statistics import BatchNormStatistics, restoring
from raynas.evaluation.prefix_tree import Node, Prefix, nodes_above, run_tree


class StatisticsCache:
    """The statistics of prefixes for one set of weights, up to a number of bytes. The oldest are dropped first."""

    def __init__(self, max_bytes: int = 1 << 28) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[Prefix, list[BatchNormStatistics]] = OrderedDict()
        self._bytes = 0

    def recall(self, root: Node) -> None:
        """Give the nodes of a tree the statistics that are in the cache."""
        for node in root:
            node.statistics = self._kept.get(node.prefix)

    def keep(self, root: Node) -> None:
        """Add the statistics of a tree to the cache."""
        for node in root:
            if node.statistics is not None and node.prefix not in self._kept:
                self._kept[node.prefix] = node.statistics
                self._bytes += _nbytes(node.statistics)
        while self._bytes > self._max_bytes:
            self._bytes -= _nbytes(self._kept.popitem(last=False)[1])


def _nbytes(statistics: Sequence[BatchNormStatistics]) -> int:
    return sum(each.nbytes for each in statistics)


def recalibrate_tree(root: Node, batches: Iterable[Tensor]) -> None:
    """Give each node without statistics the means of its batch-norm statistics over the batches."""
    new = {
        id(node): [BatchNormStatistics.empty(norm) for norm in node.norms] for node in root if node.statistics is None
    }
    needed = nodes_above(root, lambda node: id(node) in new)

    def before(node: Node) -> None:
        # A node whose statistics are known runs only for the nodes below it: its new statistics are thrown away.
        statistics = new.get(id(node)) or [BatchNormStatistics.empty(norm) for norm in node.norms]
        for norm, each in zip(node.norms, statistics, strict=True):
            each.put_into(norm)

    if not needed:
        return
    with restoring(norm for node in root for norm in node.norms) as norms:
        for norm in norms:
            norm.momentum = None  # cumulative averages over the batches
            norm.train()
        for images in batches:
            run_tree(root, (images,), before, lambda node, state: None, needed)
    for node in root:
        node.statistics = new.get(id(node), node.statistics)
