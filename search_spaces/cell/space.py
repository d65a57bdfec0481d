"""Cell spaces: a network stacks cells, small graphs whose edges choose among operations.

Functions that build networks import torch, which takes a second. Choices and costs do not need it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from search_spaces.architecture import NOTHING, Architecture
from search_spaces.cell.layout import CellLayout, Edge, NetworkLayout, PlacedOperation, taken_operations
from search_spaces.cell.operations import Operation
from search_spaces.costs import TableCosts
from search_spaces.errors import UserError
from search_spaces.latency_table import LatencyKey, LatencyTable, TimedBlock
from search_spaces.layers.cost import FREE, PLAIN, CountingRules
from search_spaces.space import CountingMode, SearchSpace
from search_spaces.vital_blocks import INPUT, OUTPUT, Link

if TYPE_CHECKING:
    from torch import Tensor, nn

    from search_spaces.cell.supernet import CellNetwork, CellSupernet


class CellSpace(SearchSpace):
    """An edge's operations are a choice, shared by all cells of a kind; each cell has its own weights.

    An operation's cost does not depend on other choices. Costs are thus a table, and an option's cost is the sum over
    its cells. Latency is that of the operations alone, without the additions at the nodes.

    Attributes:
        operations: the operations that the options name; `none` names no operation.
        affine: whether batch norm within cells has a trainable scale and shift.
        partial: in the supernet alone, an edge's operations run on one channel in `partial`.
        auxiliary_norm: whether an auxiliary head's second convolution has a batch norm.
        paper_counting: how the paper counts.
    """

    operations: Mapping[str, Operation]
    affine: bool
    partial: int = 1
    auxiliary_norm: bool = True
    paper_counting: CountingRules = PLAIN

    @abstractmethod
    def _build_layout(self, resolution: int, num_classes: int) -> NetworkLayout:
        """Return the network's layout for images of this height and width."""

    def layout(self, resolution: int | None = None, num_classes: int | None = None) -> NetworkLayout:
        """Return the network's layout, by default for the space's own resolution and number of classes.

        Raises:
            UserError: if the strides leave less than a pixel.
        """
        resolution = self.resolution if resolution is None else resolution
        layout = self._build_layout(resolution, self.num_classes if num_classes is None else num_classes)
        if resolution < layout.stride:
            raise UserError(
                f"{self.name}: images of {resolution} pixels are too small for its strides; "
                f"use at least {layout.stride} pixels, or a smaller stem_stride."
            )
        return layout

    def supernet(self, num_classes: int | None = None) -> CellSupernet:
        """Build the supernet; its weights are drawn from torch's global generator, as by torch's layers."""
        from search_spaces.cell.supernet import CellSupernet

        surviving = [
            [choice.options[option] for option in options if choice.options[option] != NOTHING]
            for choice, options in zip(self.choices, self.surviving, strict=True)
        ]
        layout = self.layout(num_classes=num_classes)
        edges = [self._build(cell, surviving, self.partial) for cell in layout.cells]
        return CellSupernet(layout, edges, self.choices, self.partial)

    def auxiliary_head(self, num_classes: int | None = None) -> nn.Module:
        """Build a second classifier, for training alone, whose input `CellSupernet.trained` returns."""
        from search_spaces.cell.auxiliary import auxiliary_head

        layout = self.layout(num_classes=num_classes)
        cell = layout.cells[layout.last_reduction]
        return auxiliary_head(cell.out_channels, cell.out_size, layout.head.place.out_channels, self.auxiliary_norm)

    def network(
        self, architecture: Architecture, num_classes: int | None = None, weights: Tensor | None = None
    ) -> CellNetwork:
        """Build the network with only the operations and edges that the architecture takes.

        Args:
            weights: the factors of the operations' outputs, shape (choices, options); 1 by default.
        """
        from search_spaces.cell.supernet import CellNetwork

        taken = taken_operations(self.choices, architecture)
        layout = self.layout(num_classes=num_classes)
        edges = [self._build(cell, taken) for cell in layout.cells]
        present = [{edge: built for edge, built in cell.items() if built} for cell in edges]
        if weights is None:
            return CellNetwork(layout, present)
        rows = zip(self.choices, weights.tolist(), strict=True)
        named = {(i, name): row[j] for i, (choice, row) in enumerate(rows) for j, name in enumerate(choice.options)}
        return CellNetwork(layout, present, named)

    def network_state(self, architecture: Architecture, supernet_state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if self.partial > 1:
            raise UserError(
                f"A supernet of {self.name} with partial: {self.partial} has weights for only a part of a network's "
                "channels, so that no network can inherit them; use partial: 1."
            )
        taken = taken_operations(self.choices, architecture)
        kept = {
            ("cells", str(number), "edges", edge.key, name)
            for number, cell in enumerate(self.layout().cells)
            for edge in cell.edges
            for name in taken[edge.choice]
        }
        parts = {name: tuple(name.split(".")) for name in supernet_state}
        return {
            name: tensor
            for name, tensor in supernet_state.items()
            if parts[name][2:3] != ("edges",) or parts[name][:5] in kept
        }

    def _build(self, cell: CellLayout, taken: list[list[str]], partial: int = 1) -> dict[Edge, dict[str, nn.Module]]:
        """Build the operations of a cell's edges for these choices, on one channel in `partial`."""
        return {
            edge: {
                name: self.operations[name].build(edge.place.divided(partial), self.affine)
                for name in taken[edge.choice]
            }
            for edge in cell.edges
        }

    def costs(
        self,
        resolution: int | None = None,
        num_classes: int | None = None,
        latency: LatencyTable | None = None,
        counting: CountingMode = "macs",
    ) -> TableCosts:
        layout = self.layout(resolution, num_classes)
        count = PLAIN if counting == "macs" else self.paper_counting
        shape = (len(self.choices), max(len(choice.options) for choice in self.choices))
        options = [[FREE] * shape[1] for _ in self.choices]
        for choice, option, operation in self._edge_operations(layout):
            options[choice][option] += operation.cost()
        fixed = FREE
        for operation in layout.always():
            fixed += operation.cost()
        table = {
            "macs": np.array([[count.macs(cost) for cost in row] for row in options], dtype=np.float64),
            "params": np.array([[count.params(cost) for cost in row] for row in options], dtype=np.float64),
        }
        fixed_costs = {"macs": float(count.macs(fixed)), "params": float(count.params(fixed))}
        if latency is not None:
            table["latency_ms"] = np.zeros(shape)
            for choice, option, operation in self._edge_operations(layout):
                needed = option in self.surviving[choice]
                table["latency_ms"][choice, option] += latency.option_ms(operation.latency_key(), needed)
            always = (operation.latency_key() for operation in layout.always())
            fixed_costs["latency_ms"] = sum(latency.option_ms(key, needed=True) for key in always)
        subsets = frozenset(position for position, choice in enumerate(self.choices) if choice.subset)
        return TableCosts(self.name, self.surviving, table, fixed_costs, subsets)

    def latency_blocks(self) -> dict[LatencyKey, TimedBlock]:
        """Return the operations, the preparation of the cells' inputs, the stem and the head, but no nodes' sums."""
        layout = self.layout()
        options = [operation for choice, i, operation in self._edge_operations(layout) if i in self.surviving[choice]]
        timed: dict[LatencyKey, TimedBlock] = {}
        for operation in (*layout.always(), *options):
            key, place = operation.latency_key(), operation.place
            if key is not None:
                timed.setdefault(key, TimedBlock(operation.build, (place.in_channels, place.size, place.size)))
        return timed

    def _edge_operations(self, layout: NetworkLayout) -> Iterator[tuple[int, int, PlacedOperation]]:
        """Yield every choice's options, by index, for every edge of the choice; `none` is no operation."""
        for edge in (edge for cell in layout.cells for edge in cell.edges):
            for option, name in enumerate(self.choices[edge.choice].options):
                if name != NOTHING:
                    yield edge.choice, option, PlacedOperation(self.operations[name], edge.place, self.affine)

    def links(self) -> list[Link]:
        """Return the edges of all cells, between nodes `stem0`, `cell0.2` (in a cell) and `cell0` (a cell's output)."""
        layout = self.layout()
        outputs = [f"stem{number}" for number in range(len(layout.stem))]
        links = [Link(*pair) for pair in zip([INPUT, *outputs], outputs, strict=False)]
        outputs = [outputs[0], *outputs]
        for number, cell in enumerate(layout.cells):
            name = f"cell{number}"
            inputs = len(cell.inputs)
            links += [Link(output, f"{name}.{node}") for node, output in enumerate(outputs[-inputs:])]
            links += [Link(f"{name}.{edge.source}", f"{name}.{edge.target}", edge.choice) for edge in cell.edges]
            last_nodes = range(inputs, cell.nodes) if cell.joined else [cell.nodes - 1]
            links += [Link(f"{name}.{node}", name) for node in last_nodes]
            outputs.append(name)
        return [*links, Link(outputs[-1], OUTPUT)]
