"""The layout of a network of cells, before any module is built: the place of every operation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from search_spaces.architecture import NOTHING, Architecture, Choice
from search_spaces.cell.operations import Operation
from search_spaces.latency_table import LatencyKey
from search_spaces.layers.cost import LayerCost
from search_spaces.layers.shapes import Place

if TYPE_CHECKING:
    from torch import nn


class PlacedOperation(NamedTuple):
    """An operation at its place."""

    operation: Operation
    place: Place
    affine: bool = True

    def cost(self) -> LayerCost:
        return self.operation.cost(self.place, self.affine)

    def latency_key(self) -> LatencyKey | None:
        return self.operation.latency_key(self.place)

    def build(self) -> nn.Module:
        return self.operation.build(self.place, self.affine)


class Edge(NamedTuple):
    """A connection between two nodes of a cell, by their numbers. A choice's operations run along it."""

    choice: int
    source: int
    target: int
    place: Place

    @property
    def key(self) -> str:
        """The name of the edge's modules in a state dict."""
        return f"{self.target}-{self.source}"


class CellLayout(NamedTuple):
    """A graph of feature maps. Each is the sum of its edges' outputs, which come from earlier feature maps.

    Attributes:
        inputs: the operations that prepare the outputs of earlier cells. Their results are the first nodes; the last
            cell's comes last.
        edges: in the order of their targets.
        nodes: the number of nodes, inputs included.
        stride: of the edges that come from an input.
        joined: whether the cell's output is the concatenation of all nodes except its inputs, or the last node alone.
    """

    inputs: tuple[PlacedOperation, ...]
    edges: tuple[Edge, ...]
    nodes: int
    stride: int
    joined: bool

    @property
    def reduction(self) -> int:
        """The factor by which the cell reduces the height and width of the last cell's output."""
        return self.stride * self.inputs[-1].place.stride

    @property
    def out_channels(self) -> int:
        return self.edges[-1].place.out_channels * (self.nodes - len(self.inputs) if self.joined else 1)

    @property
    def out_size(self) -> int:
        """Height and width of the cell's output in pixels."""
        return self.edges[-1].place.out_size


class NetworkLayout(NamedTuple):
    """A stem, cells and a head.

    The inputs of the first cell are the stem's last two outputs. A stem's only output counts twice.
    """

    stem: tuple[PlacedOperation, ...]
    cells: tuple[CellLayout, ...]
    head: PlacedOperation

    def always(self) -> list[PlacedOperation]:
        """Return the operations of every architecture: stem, preparation of the cells' inputs, head."""
        return [*self.stem, *(operation for cell in self.cells for operation in cell.inputs), self.head]

    @property
    def stride(self) -> int:
        """The factor by which the network reduces an image's height and width."""
        stride = 1
        for operation in self.stem:
            stride *= operation.place.stride
        for cell in self.cells:
            stride *= cell.reduction
        return stride

    @property
    def last_reduction(self) -> int:
        """The number of the last cell that reduces the features; 0 if none does."""
        return max((number for number, cell in enumerate(self.cells) if cell.reduction > 1), default=0)


def taken_operations(choices: Sequence[Choice], architecture: Architecture) -> list[list[str]]:
    """Return for each choice the names of the operations that the architecture takes; `none` is no operation."""
    return [
        [choice.options[option] for option in choice.taken(value) if choice.options[option] != NOTHING]
        for choice, value in zip(choices, architecture.indices, strict=True)
    ]
