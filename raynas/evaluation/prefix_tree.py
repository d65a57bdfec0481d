"""The paths of several architectures as a tree: a prefix that paths share is computed once for all of them.

Two paths share a node as long as their segments agree from the stem on. The batch-norm statistics of a node follow from
its prefix alone, so sharing is exact, in training mode and in evaluation mode. Trees run depth first: at any time only
the features of one path are in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field

from torch import Tensor, nn

from raynas.evaluation.batch_norm_folding import FoldedPair, find_pairs, without_batch_norms
from raynas.evaluation.batch_norm_statistics import BatchNormStatistics, restoring
from search_spaces import Architecture
from search_spaces.supernet import Segment, State, Supernet

Batch = tuple[Tensor, Tensor]
"""Images and labels."""
Prefix = tuple[Hashable, ...]
"""The keys of the segments from the stem on."""


@dataclass
class Node:
    """A segment after the segments of the nodes above it.

    Attributes:
        ends: the numbers of the architectures whose paths end here.
        statistics: of the node's batch norms, in the order of `norms`; None if they are not known yet.
    """

    prefix: Prefix
    segment: Segment
    children: dict[Hashable, Node] = field(default_factory=dict)
    ends: list[int] = field(default_factory=list)
    statistics: list[BatchNormStatistics] | None = None

    def __post_init__(self) -> None:
        modules = (module for part in self.segment.modules for module in part.modules())
        self.norms = [module for module in modules if isinstance(module, nn.BatchNorm2d)]
        self.pairs = list(find_pairs(self.segment.modules))

    def __iter__(self) -> Iterator[Node]:
        """Yield this node and all nodes below it."""
        yield self
        for child in self.children.values():
            yield from child


def grow(supernet: Supernet, architectures: Iterable[Architecture]) -> Node:
    """Return the tree of the architectures' paths, numbered in their order. The root is empty: the stem is below it."""
    root = Node((), Segment(None, lambda state: state, ()))
    for number, architecture in enumerate(architectures):
        node = root
        for segment in supernet.segments(architecture):
            if segment.key not in node.children:
                node.children[segment.key] = Node((*node.prefix, segment.key), segment)
            node = node.children[segment.key]
        node.ends.append(number)
    return root


def run_tree(
    node: Node, state: State, before: Callable[[Node], None], at_end: Callable[[Node, State], None], needed: set[int]
) -> None:
    """Run a node and the nodes below it, depth first.

    Args:
        before: called before each node runs.
        at_end: called with each node at which paths end, and its output.
        needed: the `id`s of the nodes to run.
    """
    while True:
        before(node)
        state = node.segment.run(state)
        if node.ends:
            at_end(node, state)
        children = [child for child in node.children.values() if id(child) in needed]
        if not children:
            return
        for child in children[:-1]:
            run_tree(child, state, before, at_end, needed)
        # A loop instead of a call for the last child: the features above it are freed.
        node = children[-1]


def nodes_above(root: Node, wanted: Callable[[Node], bool]) -> set[int]:
    """Return the `id`s of the wanted nodes and of the nodes above them."""
    needed = set()
    for child in root.children.values():
        needed |= nodes_above(child, wanted)
    if needed or wanted(root):
        needed.add(id(root))
    return needed


def measure(root: Node, batches: Iterable[Batch], at_end: Callable[[int, Tensor, Tensor], None]) -> None:
    """Run every path on every batch, with the statistics of its nodes, or the batch norms' own if a node has none.

    Args:
        batches: images (N, 3, H, W) and labels (N,).
        at_end: called with the number of each architecture, its logits (N, num_classes) and the labels.
    """
    needed = {id(node) for node in root}
    folded: dict[int, list[FoldedPair]] = {}
    single: dict[int, list[tuple[nn.BatchNorm2d, BatchNormStatistics]]] = {}
    for node in root:
        known = dict(zip(node.norms, node.statistics or map(BatchNormStatistics.of, node.norms), strict=True))
        folded[id(node)] = [FoldedPair.of(pair, known[pair.norm].mean, known.pop(pair.norm).var) for pair in node.pairs]
        single[id(node)] = list(known.items())

    def before(node: Node) -> None:
        for pair in folded[id(node)]:
            pair.put_into_convolution()
        for norm, statistics in single[id(node)]:
            statistics.put_into(norm)

    norms = (norm for node in root for norm in node.norms)
    with restoring(norms), without_batch_norms(pair for node in root for pair in node.pairs):
        for images, labels in batches:

            def pass_logits(node: Node, state: State, labels: Tensor = labels) -> None:
                for number in node.ends:
                    at_end(number, state[0], labels)

            run_tree(root, (images,), before, pass_logits, needed)
