"""`raynas draw`: the cells of a network, with the weights of their edges if the method has learnt any."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from raynas.results.outcome import Outcome, load
from raynas.storage.run_folder import RunFolder
from search_spaces.architecture import NOTHING, Architecture
from search_spaces.cell.genotype import FILE, Genotype
from search_spaces.cell.layout import CellLayout
from search_spaces.cell.space import CellSpace
from search_spaces.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
_NODE_DISTANCE, _BEND, _DOT_DISTANCE = 2.0, 0.3, 0.13


class DrawnEdge(NamedTuple):
    """An edge of a cell.

    Attributes:
        source, target: the numbers of its nodes.
        weight: None if edges have no weights.
    """

    source: int
    target: int
    operations: list[str]
    weight: float | None


def draw_run(run: str, out: str | Path) -> Path:
    """Draw the cells of a finished run's network into a file; its ending names the format.

    Raises:
        UserError: if the space of the run has no cells, matplotlib is missing, or matplotlib cannot write the file.
    """
    try:
        figure = draw_outcome(load(run))
        figure.savefig(out, dpi=110)
    except ImportError as error:
        raise UserError("Drawing needs matplotlib: pip install 'raynas[drawing]'.") from error
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(f"{out} cannot be written: {error}.") from error
    return Path(out)


def draw_outcome(outcome: Outcome) -> Figure:
    """Draw the cells of a run's genotype, or without a genotype those of its best network.

    Raises:
        UserError: if the space of the run has no cells.
        ImportError: if matplotlib is missing.
    """
    folder, space = RunFolder(outcome.run), outcome.whole_space
    if not isinstance(space, CellSpace):
        raise UserError(f"{space.name} has no cells to draw: raynas describe lists the blocks of an architecture.")
    if not folder.exists(FILE):
        return draw_cells(space, space.parse(outcome.best["architecture"]))
    genotype = Genotype.parse(space, folder.read(FILE).decode())
    return draw_cells(space, genotype.architecture, genotype.edges)


def draw_cells(space: CellSpace, architecture: Architecture, weights: Sequence[float] | None = None) -> Figure:
    """Draw one panel for each kind of cell.

    An edge is an arrow, with one dot for each operation and its weight above.

    Args:
        weights: one for each choice; None if edges have no weights.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    cells = drawn_edges(space, architecture, weights)
    figure = Figure(figsize=(13, 5.2 * len(cells)), layout="constrained")
    panels = figure.subplots(len(cells), 1, squeeze=False)[:, 0]
    used = [name for name in space.operations if any(name in edge.operations for edges in cells for edge in edges)]
    colours = dict(zip(used, _COLOURS, strict=False))
    for panel, plan, edges in zip(panels, _cell_kinds(space), cells, strict=True):
        _draw_cell(panel, plan.nodes, len(plan.inputs), plan.joined, edges, colours)
    lines = [Line2D([], [], color=colours[name], label=name, marker="o", ls="") for name in used]
    figure.legend(handles=lines, loc="outside lower center", ncols=4, frameon=False)
    return figure


def drawn_edges(
    space: CellSpace, architecture: Architecture, weights: Sequence[float] | None = None
) -> list[list[DrawnEdge]]:
    """Return the edges that an architecture keeps, for each kind of cell."""
    cells = []
    for plan in _cell_kinds(space):
        edges = []
        for edge in plan.edges:
            choice = space.choices[edge.choice]
            operations = choice.write(architecture.indices[edge.choice])
            if operations != NOTHING:
                weight = None if weights is None else weights[edge.choice]
                edges.append(DrawnEdge(edge.source, edge.target, operations.split("+"), weight))
        cells.append(edges)
    return cells


def _cell_kinds(space: CellSpace) -> list[CellLayout]:
    """Return one cell of each kind. Cells of one kind share their choices."""
    kinds: dict[int, CellLayout] = {}
    for plan in space.layout().cells:
        kinds.setdefault(plan.edges[0].choice, plan)
    return list(kinds.values())


def _draw_cell(
    panel: Axes, nodes: int, inputs: int, joined: bool, edges: Sequence[DrawnEdge], colours: dict[str, str]
) -> None:
    """Draw the nodes from left to right, two inputs one above the other. Longer edges bend more."""
    from matplotlib.patches import FancyArrowPatch

    positions = {node: (0.0, 1.6 - 3.2 * node) if inputs > 1 else (0.0, 0.0) for node in range(inputs)}
    positions |= {node: (_NODE_DISTANCE * (node - inputs + 1), 0.0) for node in range(inputs, nodes)}
    output = (_NODE_DISTANCE * (nodes - inputs + 0.7), 0.0)
    for edge in edges:
        (x, y), (to_x, to_y) = positions[edge.source], positions[edge.target]
        span = edge.target - max(edge.source, inputs - 1)
        above = y > 0 or (y == 0 and (edge.source + span) % 2 == 0)
        bend = (-1 if above else 1) * _BEND * (span > 1 or y != 0) * (1 if y else 1.5)
        width = 1.2 if edge.weight is None else 0.6 + 3 * edge.weight
        arrow = FancyArrowPatch(
            (x, y),
            (to_x, to_y),
            connectionstyle=f"arc3,rad={bend}",
            arrowstyle="-|>",
            mutation_scale=10,
            color="#888888",
            linewidth=width,
            shrinkA=14,
            shrinkB=14,
        )
        panel.add_patch(arrow)
        middle = (x + to_x + bend * (to_y - y)) / 2, (y + to_y - bend * (to_x - x)) / 2
        _label(panel, middle, edge, colours)
    for node in range(inputs, nodes) if joined else [nodes - 1]:
        panel.plot([positions[node][0], output[0]], [0, 0], color="#dddddd", lw=1, zorder=0)
    names = {node: str(node) for node in range(inputs, nodes)}
    names |= {0: "before", 1: "last"} if inputs == 2 else {0: "last"}
    for node, (x, y) in [*positions.items(), (nodes, output)]:
        box = {"boxstyle": "round,pad=0.4", "fc": "#f4f4f4", "ec": "#555555"}
        panel.text(x, y, names.get(node, "out"), ha="center", va="center", fontsize=10, bbox=box)
    panel.set(xlim=(-0.6, output[0] + 0.5), ylim=(-2.6, 2.6), aspect="equal")
    panel.axis("off")


def _label(panel: Axes, middle: tuple[float, float], edge: DrawnEdge, colours: dict[str, str]) -> None:
    """Draw one dot for each operation, and the weight of the edge above the dots."""
    x, y = middle
    for number, name in enumerate(edge.operations):
        dot_x = x + _DOT_DISTANCE * (number - (len(edge.operations) - 1) / 2)
        panel.plot([dot_x], [y], "o", color=colours[name], markersize=7, markeredgecolor="white", zorder=3)
    if edge.weight is not None:
        panel.text(x, y + 0.2, f"{edge.weight:.2f}", fontsize=9, ha="center", va="center")
