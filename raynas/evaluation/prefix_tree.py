"""Paths of one supernet as a tree, in which what architectures have in common is computed once for all of them.

Two paths share a node as long as their stages agree from the stem on. A node's batch-norm statistics follow from its
prefix alone, so that what is shared is exact, in training mode and in evaluation mode. Trees are walked depth first:
the features that are held at once are those of one path.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from raynas.evaluation.batch_norm_folding import Folded, pairs, without_norms
from search_spaces import Architecture
from search_spaces.supernet import Stage, State, Supernet

Batch = tuple[Tensor, Tensor]
"""Images and labels."""
Prefix = tuple[Hashable, ...]
"""The keys of the stages from the stem on."""


class Statistics(NamedTuple):
    """What one batch norm has seen: buffers that it can be lent."""

    mean: Tensor
    var: Tensor
    batches: Tensor

    @classmethod
    def none_yet(cls, norm: nn.BatchNorm2d) -> Statistics:
        mean, var = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
        return cls(torch.zeros_like(mean), torch.ones_like(var), torch.zeros((), dtype=torch.long, device=mean.device))

    @classmethod
    def own(cls, norm: nn.BatchNorm2d) -> Statistics:
        tensors = norm.running_mean, norm.running_var, norm.num_batches_tracked
        return cls(*cast("tuple[Tensor, Tensor, Tensor]", tensors))

    def lend(self, norm: nn.BatchNorm2d) -> None:
        norm.running_mean, norm.running_var, norm.num_batches_tracked = self

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self)


@dataclass
class Node:
    """A stage after those above it.

    Attributes:
        ends: the numbers of the architectures whose paths end here.
        statistics: of its batch norms, in the order of `norms`; None where they are not known yet.
    """

    prefix: Prefix
    stage: Stage
    children: dict[Hashable, Node] = field(default_factory=dict)
    ends: list[int] = field(default_factory=list)
    statistics: list[Statistics] | None = None

    def __post_init__(self) -> None:
        modules = (module for part in self.stage.modules for module in part.modules())
        self.norms = [module for module in modules if isinstance(module, nn.BatchNorm2d)]
        self.pairs = list(pairs(self.stage.modules))

    def __iter__(self) -> Iterator[Node]:
        """This node and all below it."""
        yield self
        for child in self.children.values():
            yield from child


def grow(supernet: Supernet, architectures: Iterable[Architecture]) -> Node:
    """The paths of the architectures, numbered in their order. The root does nothing: the stem is below it."""
    root = Node((), Stage(None, lambda state: state, ()))
    for number, architecture in enumerate(architectures):
        node = root
        for stage in supernet.stages(architecture):
            if stage.key not in node.children:
                node.children[stage.key] = Node((*node.prefix, stage.key), stage)
            node = node.children[stage.key]
        node.ends.append(number)
    return root


def walk(
    node: Node, state: State, before: Callable[[Node], None], at_end: Callable[[Node, State], None], within: set[int]
) -> None:
    """Run a node and what is below it, depth first.

    Args:
        before: is called before each node runs.
        at_end: is given the nodes at which paths end, and what has come of them there.
        within: the nodes that are run, by their `id`.
    """
    while True:
        before(node)
        state = node.stage.run(state)
        if node.ends:
            at_end(node, state)
        below = [child for child in node.children.values() if id(child) in within]
        if not below:
            return
        for child in below[:-1]:
            walk(child, state, before, at_end, within)
        node = below[-1]  # goes on here, so that no features above it are kept


def leading_to(root: Node, wanted: Callable[[Node], bool]) -> set[int]:
    """The `id`s of the nodes that are wanted, and of those above them."""
    found = set()
    for child in root.children.values():
        found |= leading_to(child, wanted)
    if found or wanted(root):
        found.add(id(root))
    return found


class Memory:
    """Statistics of prefixes that were walked with the same weights, as many as fit; the oldest are forgotten first."""

    def __init__(self, most_bytes: int = 1 << 28) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[Prefix, list[Statistics]] = OrderedDict()
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


def _nbytes(statistics: Sequence[Statistics]) -> int:
    return sum(one.nbytes for one in statistics)


def calibrate(root: Node, batches: Iterable[Tensor]) -> None:
    """Give each node that has none the statistics of its batch norms: their means over the batches."""
    fresh = {id(node): [Statistics.none_yet(norm) for norm in node.norms] for node in root if node.statistics is None}
    within = leading_to(root, lambda node: id(node) in fresh)

    def before(node: Node) -> None:
        lent = fresh.get(id(node)) or [Statistics.none_yet(norm) for norm in node.norms]  # thrown away where known
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


def measure(root: Node, batches: Iterable[Batch], at_end: Callable[[int, Tensor, Tensor], None]) -> None:
    """Run every path on every batch, with the statistics of its nodes where they have any of their own.

    Args:
        batches: images (N, 3, H, W) and their labels (N,).
        at_end: is given the number of each architecture, its logits (N, num_classes) and the labels.
    """
    within = {id(node) for node in root}

    folded: dict[int, list[Folded]] = {}
    apart: dict[int, list[tuple[nn.BatchNorm2d, Statistics]]] = {}
    for node in root:
        known = dict(zip(node.norms, node.statistics or map(Statistics.own, node.norms), strict=True))
        folded[id(node)] = [Folded.of(pair, known[pair.norm].mean, known.pop(pair.norm).var) for pair in node.pairs]
        apart[id(node)] = list(known.items())

    def before(node: Node) -> None:
        for one in folded[id(node)]:
            one.lend()
        for norm, statistics in apart[id(node)]:
            statistics.lend(norm)

    with _borrowed(root), without_norms(pair for node in root for pair in node.pairs):
        for images, labels in batches:

            def told(node: Node, state: State, labels: Tensor = labels) -> None:
                for number in node.ends:
                    at_end(number, state[0], labels)

            walk(root, (images,), before, told, within)


@contextmanager
def _borrowed(root: Node) -> Iterator[list[nn.BatchNorm2d]]:
    """The batch norms of a tree; in the end they have their own statistics, momentum and mode back."""
    norms = list({id(norm): norm for node in root for norm in node.norms}.values())
    own = [(Statistics.own(norm), norm.momentum, norm.training) for norm in norms]
    try:
        yield norms
    finally:
        for norm, (statistics, momentum, training) in zip(norms, own, strict=True):
            statistics.lend(norm)
            norm.momentum = momentum
            norm.train(training)
