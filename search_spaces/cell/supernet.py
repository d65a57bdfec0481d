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
from search_spaces.cell.layout import CellLayout, Edge, NetworkLayout, taken_operations
from search_spaces.cell.partial_channels import join_channels, split_channels
from search_spaces.errors import UserError
from search_spaces.supernet import Segment, State, Supernet

RunEdge = Callable[[int, nn.ModuleDict, Tensor], Tensor | None]
"""Computes an edge's output from its choice, its operations and its source node; None if the edge is removed."""
CellObserver = Callable[[int, Tensor], None]
"""Receives the number of a cell and the cell's output."""
_NO_WEIGHTS: Mapping[tuple[int, str], float] = MappingProxyType({})


class CellSegment(NamedTuple):
    """A part of a network of cells that runs as a whole.

    Attributes:
        run: computes the next state from the state before it.
        modules: the modules that run for every architecture.
        edges: the edges that it runs.
        ends: the number of the cell that ends with it.
    """

    run: Callable[[State], State]
    modules: Iterable[nn.Module]
    edges: Sequence[Edge] = ()
    ends: int | None = None


class Cell(nn.Module):
    """The graph of a layout. A node without incoming edges is zero."""

    def __init__(self, layout: CellLayout, edges: Mapping[Edge, Mapping[str, nn.Module]]) -> None:
        """Build the inputs.

        Args:
            edges: the layout's remaining edges, with their operations, which may be none.
        """
        super().__init__()
        self.inputs = nn.ModuleList([part.build() for part in layout.inputs])
        self.edges = nn.ModuleDict({edge.key: nn.ModuleDict(operations) for edge, operations in edges.items()})
        self.layout = layout
        self.present = tuple(edges)

    def operations(self, edge: Edge) -> nn.ModuleDict:
        return cast(nn.ModuleDict, self.edges[edge.key])

    def cell_segments(self, number: int, run_edge: RunEdge) -> Iterator[CellSegment]:
        """Yield the preparation of the inputs, each node, and the output; `number` is the cell's."""
        yield CellSegment(self._enter, self.inputs)
        for target in range(len(self.inputs), self.layout.nodes):
            edges = [edge for edge in self.present if edge.target == target]
            yield CellSegment(partial(self._node, edges, run_edge), (), edges)
        yield CellSegment(self._leave, (), ends=number)

    def _enter(self, state: State) -> State:
        """Turn the last two outputs into the last output and the first nodes."""
        before = state[-len(self.inputs) :]
        return state[-1], *(prepare(features) for prepare, features in zip(self.inputs, before, strict=True))

    def _node(self, edges: Sequence[Edge], run_edge: RunEdge, state: State) -> State:
        """Append a node."""
        _, *nodes = state
        outputs = [run_edge(edge.choice, self.operations(edge), nodes[edge.source]) for edge in edges]
        present = [output for output in outputs if output is not None]
        return *state, _sum(present) if present else self._zero(nodes[0])

    def _leave(self, state: State) -> State:
        """Return the last two outputs; the second is this cell's."""
        last, *nodes = state
        return last, torch.cat(nodes[len(self.inputs) :], dim=1) if self.layout.joined else nodes[-1]

    def _zero(self, features: Tensor) -> Tensor:
        """Return zeros in the shape of a node, from an input's features."""
        return torch.zeros_like(features[:, :, :: self.layout.stride, :: self.layout.stride])


class Cells(nn.Module):
    """A stem, cells and a head. A key of the state dict reads `cells.0.edges.2-0.dil_conv_3x3.depthwise.weight`."""

    def __init__(self, layout: NetworkLayout, edges: Sequence[Mapping[Edge, Mapping[str, nn.Module]]]) -> None:
        """Build stem, cells and head.

        Args:
            edges: for each cell its remaining edges, with their operations.
        """
        super().__init__()
        self.stem = nn.ModuleList([part.build() for part in layout.stem])
        self.cells = nn.ModuleList([Cell(*cell) for cell in zip(layout.cells, edges, strict=True)])
        self.head = layout.head.build()

    def cell_segments(self, run_edge: RunEdge) -> Iterator[CellSegment]:
        """Yield the network's segments. Between cells a state is the last two outputs."""
        for number, module in enumerate(self.stem):
            yield CellSegment(partial(_stem, module, number == 0), [module])
        for number, cell in enumerate(cast("Iterable[Cell]", self.cells)):
            yield from cell.cell_segments(number, run_edge)
        yield CellSegment(lambda state: (self.head(state[-1]),), [self.head])

    def run(self, images: Tensor, run_edge: RunEdge, observe: CellObserver | None = None) -> Tensor:
        """Run the network from images to logits.

        Args:
            run_edge: computes an edge's output.
            observe: receives each cell's output.
        """
        state: State = (images,)
        for segment in self.cell_segments(run_edge):
            state = segment.run(state)
            if observe is not None and segment.ends is not None:
                observe(segment.ends, state[-1])
        (logits,) = state
        return logits


class CellNetwork(Cells):
    """The network of one architecture, with only the edges and operations that the architecture takes."""

    def __init__(
        self,
        layout: NetworkLayout,
        edges: Sequence[Mapping[Edge, Mapping[str, nn.Module]]],
        weights: Mapping[tuple[int, str], float] = _NO_WEIGHTS,
    ) -> None:
        """Build the network.

        Args:
            weights: the factors of the operations, by choice and name; without any, all factors are 1.
        """
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
    """Every surviving operation of every edge. The operations run on one channel in `partial`."""

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
        """Return the stem, each cell's nodes, the head. An edge is the sum of its operations, times its gate."""
        taken = taken_operations(self.choices, architecture)

        def run_edge(choice: int, operations: nn.ModuleDict, features: Tensor) -> Tensor | None:
            if not taken[choice]:
                return None
            active, passed = split_channels(features, self.partial)
            output = _sum([self._operation(choice, operations, name)(active) for name in taken[choice]])
            output = output if passed is None else join_channels(output, passed, self.partial)
            return output if gates is None else output * gates[choice]

        segments, cell = [], 0
        for segment in self.cell_segments(run_edge):
            edge_operations = [cast(Cell, self.cells[cell]).operations(edge) for edge in segment.edges]
            modules = [
                self._operation(edge.choice, operations, name)
                for edge, operations in zip(segment.edges, edge_operations, strict=True)
                for name in taken[edge.choice]
            ]
            key = tuple(architecture.indices[edge.choice] for edge in segment.edges)
            segments.append(Segment(key, segment.run, [*segment.modules, *modules]))
            cell += segment.ends is not None
        return segments

    def trained(self, images: Tensor, architecture: Architecture, drop: DropPath | None) -> tuple[Tensor, Tensor]:
        """Run `forward` with drop path; return the logits and the features for an auxiliary head.

        The features are the output of the last cell that reduces them.
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
        """Run the continuous relaxation: an edge is the sum of its surviving operations' outputs times their weights.

        Args:
            weights: shape (choices, most options of a choice). If operations and edges have separate weights (HM-NAS
                equations 1 and 2), these are their products. If the weights need no gradient, an operation with weight
                exactly 0 is not run: a masked mixture costs only what its masks leave. Channels that pass by are
                multiplied by the sum of the choice's weights, which is the edge's weight.
        """
        masked = torch.zeros(weights.shape) if weights.requires_grad else weights == 0
        left_out = masked.tolist()

        def run_edge(choice: int, operations: nn.ModuleDict, features: Tensor) -> Tensor | None:
            columns = [(self.choices[choice].options.index(name), run) for name, run in operations.items()]
            active, passed = split_channels(features, self.partial)
            outputs = [run(active) * weights[choice, i] for i, run in columns if not left_out[choice][i]]
            if passed is None or not outputs:
                return _sum(outputs) if outputs else None
            return join_channels(_sum(outputs), passed * weights[choice].sum(), self.partial)

        return self.run(images, run_edge)

    def _operation(self, choice: int, operations: nn.ModuleDict, name: str) -> nn.Module:
        if name not in operations:
            options = ", ".join(operations) or NOTHING
            raise UserError(f"This supernet has no {name} in {self.choices[choice].name}; it has {options}.")
        return operations[name]


def _stem(module: nn.Module, first: bool, state: State) -> State:
    """Return the last two outputs; the second is this module's. The first module's output counts twice."""
    output = module(state[-1])
    return output if first else state[-1], output


def _sum(features: Sequence[Tensor]) -> Tensor:
    return sum(features[1:], features[0])
