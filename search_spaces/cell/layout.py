"""What a network of cells is made of, before any module is built: which operation stands where."""

from __future__ import annotations

from typing import NamedTuple

from torch import nn

from search_spaces.cell.operations import Operation
from search_spaces.latency_table import LatencyKey
from search_spaces.layers.convolutions import Place
from search_spaces.layers.cost import LayerCost


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
    """A way between two nodes of a cell, by their numbers, along which a choice's operations run."""

    choice: int
    source: int
    target: int
    place: Place

    @property
    def key(self) -> str:
        """Its name in a state dict."""
        return f"{self.target}-{self.source}"


class CellLayout(NamedTuple):
    """A graph of feature maps, each the sum of what its edges make of those before it.

    Attributes:
        inputs: what prepares the outputs of the cells before; their results are the first nodes, the last cell's last.
        edges: in the order of their targets.
        nodes: how many there are, the inputs among them.
        stride: of the edges that come from an input.
        joined: whether the cell gives all nodes but its inputs side by side, or the last node alone.
    """

    inputs: tuple[PlacedOperation, ...]
    edges: tuple[Edge, ...]
    nodes: int
    stride: int
    joined: bool

    @property
    def reduction(self) -> int:
        """How many pixels of a side of the last cell's output make one of this one's."""
        return self.stride * self.inputs[-1].place.stride

    @property
    def out_channels(self) -> int:
        return self.edges[-1].place.out_channels * (self.nodes - len(self.inputs) if self.joined else 1)

    @property
    def out_size(self) -> int:
        """Height and width of what the cell gives, in pixels."""
        return self.edges[-1].place.out_size


class NetworkLayout(NamedTuple):
    """A stem, of which the last two outputs are those before the first cell (one counts twice), cells, and a head."""

    stem: tuple[PlacedOperation, ...]
    cells: tuple[CellLayout, ...]
    head: PlacedOperation

    def always(self) -> list[PlacedOperation]:
        """What is there whatever the edges take: the stem, what prepares the cells' inputs, the head."""
        return [*self.stem, *(operation for cell in self.cells for operation in cell.inputs), self.head]

    @property
    def stride(self) -> int:
        """How many pixels of an image's side make one of the last feature map's."""
        stride = 1
        for operation in self.stem:
            stride *= operation.place.stride
        for cell in self.cells:
            stride *= cell.reduction
        return stride

    @property
    def last_reduction(self) -> int:
        """The number of the last cell that reduces the features, or of the first where none does."""
        return max((number for number, cell in enumerate(self.cells) if cell.reduction > 1), default=0)
