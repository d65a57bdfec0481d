"""Paths of one supernet as a tree, in which what architectures have in common is computed once for all of them.

Two paths share a node as long as their stages agree from the stem on. A node's batch-norm statistics follow from its
prefix alone, so that what is shared is exact, in training mode and in evaluation mode. Trees are walked depth first:
the features that are held at once are those of one path.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import Tensor, nn

from raynas.evaluation.batch_norm_folding import Folded, pairs, without_norms
from raynas.evaluation.batch_norm_statistics import BatchNormStatistics
from search_spaces import Architecture
from search_spaces.supernet import Segment, State, Supernet

Batch = tuple[Tensor, Tensor]
"""Images and labels."""
Prefix = tuple[Hashable, ...]
"""The keys of the stages from the stem on."""


@dataclass
class Node:
    """A stage after those above it.

    Attributes:
        ends: the numbers of the architectures whose paths end here.
        statistics: of its batch norms, in the order of `norms`; None where they are not known yet.
    """

    prefix: Prefix
    segment: Segment
    children: dict[Hashable, Node] = field(default_factory=dict)
    ends: list[int] = field(default_factory=list)
    statistics: list[BatchNormStatistics] | None = None

    def __post_init__(self) -> None:
        modules = (module for part in self.segment.modules for module in part.modules())
        self.norms = [module for module in modules if isinstance(module, nn.BatchNorm2d)]
        self.pairs = list(pairs(self.segment.modules))

    def __iter__(self) -> Iterator[Node]:
        """This node and all below it."""
        yield self
        for child in self.children.values():
            yield from child


def grow(supernet: Supernet, architectures: Iterable[Architecture]) -> Node:
    """The paths of the architectures, numbered in their order. The root does nothing: the stem is below it."""
    root = Node((), Segment(None, lambda state: state, ()))
    for number, architecture in enumerate(architectures):
        node = root
        for segment in supernet.segments(architecture):
            if segment.key not in node.children:
                node.children[segment.key] = Node((*node.prefix, segment.key), segment)
            node = node.children[segment.key]
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
        state = node.segment.run(state)
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


def measure(root: Node, batches: Iterable[Batch], at_end: Callable[[int, Tensor, Tensor], None]) -> None:
    """Run every path on every batch, with the statistics of its nodes where they have any of their own.

    Args:
        batches: images (N, 3, H, W) and their labels (N,).
        at_end: is given the number of each architecture, its logits (N, num_classes) and the labels.
    """
    within = {id(node) for node in root}

    folded: dict[int, list[Folded]] = {}
    apart: dict[int, list[tuple[nn.BatchNorm2d, BatchNormStatistics]]] = {}
    for node in root:
        known = dict(zip(node.norms, node.statistics or map(BatchNormStatistics.own, node.norms), strict=True))
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
    own = [(BatchNormStatistics.own(norm), norm.momentum, norm.training) for norm in norms]
    try:
        yield norms
    finally:
        for norm, (statistics, momentum, training) in zip(norms, own, strict=True):
            statistics.lend(norm)
            norm.momentum = momentum
            norm.train(training)
