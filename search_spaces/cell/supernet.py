"""Networks of cells: the supernet with every surviving operation, and the network of one architecture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from search_spaces.architecture import NOTHING, Architecture, Choice
from search_spaces.cell.auxiliary import DropPath
from search_spaces.cell.layout import CellLayout, Edge, NetworkLayout
from search_spaces.cell.partial_channels import joined, parted
from search_spaces.errors import UserError
from search_spaces.supernet import Segment, State, Supernet

RunEdge = Callable[[int, nn.ModuleDict, Tensor], Tensor | None]
"""What an edge makes of the node that it comes from, given its choice and its operations; None where it is gone."""
CellObserver = Callable[[int, Tensor], None]
"""Is shown the number of a cell and what it gives."""
_NO_WEIGHTS: Mapping[tuple[int, str], float] = MappingProxyType({})


class CellSegment(NamedTuple):
    """A part of a network of cells that runs as a whole.

    Attributes:
        run: what it makes of the state before it.
        modules: those that run whatever the edges take.
        edges: those that it runs.
        ends: the number of the cell that ends with it.
    """

    run: Callable[[State], State]
    modules: Iterable[nn.Module]
    edges: Sequence[Edge] = ()
    ends: int | None = None


class Cell(nn.Module):
    """The graph of a layout; a node at which nothing arrives is zero."""

    def __init__(self, layout: CellLayout, edges: Mapping[Edge, Mapping[str, nn.Module]]) -> None:
        """`edges` are those of the layout that are there, with their operations, which may be none."""
        super().__init__()
        self.inputs = nn.ModuleList([part.build() for part in layout.inputs])
        self.edges = nn.ModuleDict({edge.key: nn.ModuleDict(operations) for edge, operations in edges.items()})
        self.layout = layout
        self.present = tuple(edges)

    def operations(self, edge: Edge) -> nn.ModuleDict:
        return cast(nn.ModuleDict, self.edges[edge.key])

    def cell_segments(self, number: int, run_edge: RunEdge) -> Iterator[CellSegment]:
        """What prepares its inputs, each node, and what it gives; `number` is its own."""
        yield CellSegment(self._enter, self.inputs)
        for target in range(len(self.inputs), self.layout.nodes):
            edges = [edge for edge in self.present if edge.target == target]
            yield CellSegment(partial(self._node, edges, run_edge), (), edges)
        yield CellSegment(self._leave, (), ends=number)

    def _enter(self, state: State) -> State:
        """The last two outputs to the last one and the first nodes."""
        before = state[-len(self.inputs) :]
        return state[-1], *(prepare(features) for prepare, features in zip(self.inputs, before, strict=True))

    def _node(self, edges: Sequence[Edge], run_edge: RunEdge, state: State) -> State:
        """One node more."""
        _, *nodes = state
        outputs = [run_edge(edge.choice, self.operations(edge), nodes[edge.source]) for edge in edges]
        present = [output for output in outputs if output is not None]
        return *state, _sum(present) if present else self._zero(nodes[0])

    def _leave(self, state: State) -> State:
        """The last two outputs, of which the second is this cell's."""
        last, *nodes = state
        return last, torch.cat(nodes[len(self.inputs) :], dim=1) if self.layout.joined else nodes[-1]

    def _zero(self, features: Tensor) -> Tensor:
        """In the shape of a node, given an input's features."""
        return torch.zeros_like(features[:, :, :: self.layout.stride, :: self.layout.stride])


class Cells(nn.Module):
    """A stem, cells and a head. The keys of the state dict read `cells.0.edges.2-0.dil_conv_3x3.depthwise.weight`."""

    def __init__(self, layout: NetworkLayout, edges: Sequence[Mapping[Edge, Mapping[str, nn.Module]]]) -> None:
        """`edges` are, for each cell, those that are there, with their operations."""
        super().__init__()
        self.stem = nn.ModuleList([part.build() for part in layout.stem])
        self.cells = nn.ModuleList([Cell(*cell) for cell in zip(layout.cells, edges, strict=True)])
        self.head = layout.head.build()

    def cell_segments(self, run_edge: RunEdge) -> Iterator[CellSegment]:
        """The network, part by part, the edges being run in this way; between cells a state is the last two outputs."""
        for number, module in enumerate(self.stem):
            yield CellSegment(partial(_stem, module, number == 0), [module])
        for number, cell in enumerate(cast("Iterable[Cell]", self.cells)):
            yield from cell.cell_segments(number, run_edge)
        yield CellSegment(lambda state: (self.head(state[-1]),), [self.head])

    def run(self, images: Tensor, run_edge: RunEdge, observe: CellObserver | None = None) -> Tensor:
        """Images to logits, the edges being run in this way; each cell's output is shown to `observe`."""
        state: State = (images,)
        for segment in self.cell_segments(run_edge):
            state = segment.run(state)
            if observe is not None and segment.ends is not None:
                observe(segment.ends, state[-1])
        (logits,) = state
        return logits


class CellNetwork(Cells):
    """The network of one architecture, without the edges and operations that it leaves out."""

    def __init__(
        self,
        layout: NetworkLayout,
        edges: Sequence[Mapping[Edge, Mapping[str, nn.Module]]],
        weights: Mapping[tuple[int, str], float] = _NO_WEIGHTS,
    ) -> None:
        """`weights` are those of the operations, by their choice; without any, all count in full."""
        super().__init__(layout, edges)
        self._weights = dict(weights)

    def forward(self, images: Tensor) -> Tensor:
        return self.run(images, self.run_edge)

    def run_edge(self, choice: int, operations: nn.ModuleDict, features: Tensor) -> Tensor:
        outputs = {name: run(features) for name, run in operations.items()}
        if not self._weights:
            return _sum(list(outputs.values()))
        return _sum([output * self._weights[choice, name] for name, output in outputs.items()])


class CellSupernet(Cells, Supernet):
    """Every surviving operation of every edge; they run on one channel in `partial`."""

    def __init__(
        self,
        layout: NetworkLayout,
        edges: Sequence[Mapping[Edge, Mapping[str, nn.Module]]],
        choices: Sequence[Choice],
        partial: int = 1,
    ) -> None:
        super().__init__(layout, edges)
        self.choices = tuple(choices)
        self.partial = partial
        self._last_reduction = layout.last_reduction

    def segments(self, architecture: Architecture, gates: Tensor | None = None) -> list[Segment]:
        """The stem, node after node of each cell, the head; an edge is the sum of what it takes, times its gate."""
        taken = taken_operations(self.choices, architecture)

        def run_edge(choice: int, operations: nn.ModuleDict, features: Tensor) -> Tensor | None:
            if not taken[choice]:
                return None
            through, by = parted(features, self.partial)
            output = _sum([self._operation(choice, operations, name)(through) for name in taken[choice]])
            output = output if by is None else joined(output, by, self.partial)
            return output if gates is None else output * gates[choice]

        segments, cell = [], 0
        for segment in self.cell_segments(run_edge):
            there = [cast(Cell, self.cells[cell]).operations(edge) for edge in segment.edges]
            modules = [
                self._operation(edge.choice, operations, name)
                for edge, operations in zip(segment.edges, there, strict=True)
                for name in taken[edge.choice]
            ]
            key = tuple(architecture.indices[edge.choice] for edge in segment.edges)
            segments.append(Segment(key, segment.run, [*segment.modules, *modules]))
            cell += segment.ends is not None
        return segments

    def trained(self, images: Tensor, architecture: Architecture, drop: DropPath | None) -> tuple[Tensor, Tensor]:
        """As `forward`, with operations that drop out, and beside the logits the features for an auxiliary head.

        Those are what the last cell that reduces them gives.
        """
        taken = taken_operations(self.choices, architecture)

        def run_edge(choice: int, operations: nn.ModuleDict, features: Tensor) -> Tensor | None:
            outputs = []
            for name in taken[choice]:
                operation = self._operation(choice, operations, name)
                output = operation(features)
                outputs.append(output if drop is None or isinstance(operation, nn.Identity) else drop(output))
            return _sum(outputs) if outputs else None

        reduced: list[Tensor] = []

        def observe(cell: int, features: Tensor) -> None:
            if cell == self._last_reduction:
                reduced.append(features)

        logits = self.run(images, run_edge, observe)
        return logits, reduced[0]

    def mixed(self, images: Tensor, weights: Tensor) -> Tensor:
        """The continuous form: an edge is the sum of its surviving operations' outputs times their weights.

        Args:
            weights: shape (choices, most options of a choice). Where operations and edges have weights of their own
                (HM-NAS equations 1 and 2) these are their products. Where the weights need no gradient, an operation
                whose weight is exactly 0 is not run: a masked mixture costs what the masks leave of it. Channels that
                pass by are multiplied by the sum of the choice's weights, which is the edge's.
        """
        masked = torch.zeros(weights.shape) if weights.requires_grad else weights == 0
        left_out = masked.tolist()

        def run_edge(choice: int, operations: nn.ModuleDict, features: Tensor) -> Tensor | None:
            columns = [(self.choices[choice].options.index(name), run) for name, run in operations.items()]
            through, by = parted(features, self.partial)
            outputs = [run(through) * weights[choice, i] for i, run in columns if not left_out[choice][i]]
            if by is None or not outputs:
                return _sum(outputs) if outputs else None
            return joined(_sum(outputs), by * weights[choice].sum(), self.partial)

        return self.run(images, run_edge)

    def _operation(self, choice: int, operations: nn.ModuleDict, name: str) -> nn.Module:
        if name not in operations:
            has = ", ".join(operations) or NOTHING
            raise UserError(f"This supernet has no {name} in {self.choices[choice].name}; it has {has}.")
        return operations[name]


def taken_operations(choices: Sequence[Choice], architecture: Architecture) -> list[list[str]]:
    """For each choice the names of the operations that the architecture takes; `none` is no operation."""
    return [
        [choice.options[option] for option in choice.taken(value) if choice.options[option] != NOTHING]
        for choice, value in zip(choices, architecture.indices, strict=True)
    ]


def _stem(module: nn.Module, first: bool, state: State) -> State:
    """The last two outputs, of which the second is this module's; the first module's counts twice."""
    output = module(state[-1])
    return output if first else state[-1], output


def _sum(features: Sequence[Tensor]) -> Tensor:
    return sum(features[1:], features[0])
