"""`raynas draw`: the cells of a searched network, with the weights of their edges where they have any."""

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
_APART, _BEND, _DOT = 2.0, 0.3, 0.13


class DrawnEdge(NamedTuple):
    """An edge of a cell: its nodes' numbers, its operations, and its weight where it has one."""

    source: int
    target: int
    operations: list[str]
    weight: float | None


def draw_run(run: str, out: str | Path) -> Path:
    """Draw the cells that a finished run has found, into a file whose ending says of what kind.

    Raises:
        UserError: if the run's space has no cells, matplotlib is missing, or it cannot write such a file.
    """
    try:
        figure = figure_of(load(run))
        figure.savefig(out, dpi=110)
    except ImportError as error:
        raise UserError("Drawing needs matplotlib: pip install 'raynas[drawing]'.") from error
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(f"{out} cannot be written: {error}.") from error
    return Path(out)


def figure_of(outcome: Outcome) -> Figure:
    """The cells that a run has found; raises UserError if its space has none, ImportError without matplotlib."""
    folder, space = RunFolder(outcome.run), outcome.whole_space
    if not isinstance(space, CellSpace):
        raise UserError(f"{space.name} has no cells to draw; raynas describe lists an architecture's layers.")
    if not folder.exists(FILE):
        return draw(space, space.parse(outcome.best["architecture"]))
    genotype = Genotype.parse(space, folder.read(FILE).decode())
    return draw(space, genotype.architecture, genotype.edges)


def draw(space: CellSpace, architecture: Architecture, weights: Sequence[float] | None = None) -> Figure:
    """A panel for each kind of cell: an arrow for each edge, a dot on it for each operation, its weight above."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    cells = drawn_cells(space, architecture, weights)
    figure = Figure(figsize=(13, 5.2 * len(cells)), layout="constrained")
    panels = figure.subplots(len(cells), 1, squeeze=False)[:, 0]
    used = [name for name in space.operations if any(name in edge.operations for edges in cells for edge in edges)]
    colours = dict(zip(used, _COLOURS, strict=False))
    for panel, plan, edges in zip(panels, _kinds(space), cells, strict=True):
        _draw_cell(panel, plan.nodes, len(plan.inputs), plan.joined, edges, colours)
    lines = [Line2D([], [], color=colours[name], label=name, marker="o", ls="") for name in used]
    figure.legend(handles=lines, loc="outside lower center", ncols=4, frameon=False)
    return figure


def drawn_cells(
    space: CellSpace, architecture: Architecture, weights: Sequence[float] | None = None
) -> list[list[DrawnEdge]]:
    """For each kind of cell the edges that it keeps."""
    cells = []
    for plan in _kinds(space):
        kept = []
        for edge in plan.edges:
            choice = space.choices[edge.choice]
            word = choice.write(architecture.indices[edge.choice])
            if word != NOTHING:
                weight = None if weights is None else weights[edge.choice]
                kept.append(DrawnEdge(edge.source, edge.target, word.split("+"), weight))
        cells.append(kept)
    return cells


def _kinds(space: CellSpace) -> list[CellLayout]:
    """One cell of each kind: those that share their choices are one."""
    kinds: dict[int, CellLayout] = {}
    for plan in space.layout().cells:
        kinds.setdefault(plan.edges[0].choice, plan)
    return list(kinds.values())


def _draw_cell(
    panel: Axes, nodes: int, inputs: int, joined: bool, edges: Sequence[DrawnEdge], colours: dict[str, str]
) -> None:
    """Nodes from left to right, the inputs one above the other; edges bend the more, the further they go."""
    from matplotlib.patches import FancyArrowPatch

    places = {node: (0.0, 1.6 - 3.2 * node) if inputs > 1 else (0.0, 0.0) for node in range(inputs)}
    places |= {node: (_APART * (node - inputs + 1), 0.0) for node in range(inputs, nodes)}
    output = (_APART * (nodes - inputs + 0.7), 0.0)
    for edge in edges:
        (x, y), (to_x, to_y) = places[edge.source], places[edge.target]
        span = edge.target - max(edge.source, inputs - 1)
        above = y > 0 or (y == 0 and (edge.source + span) % 2 == 0)
        bend = (-1 if above else 1) * _BEND * (span > 1 or y != 0) * (1 if y else 1.5)
        width = 1.2 if edge.weight is None else 0.6 + 3 * edge.weight
        curve = f"arc3,rad={bend}"
        arrow = FancyArrowPatch(
            (x, y),
            (to_x, to_y),
            connectionstyle=curve,
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
        panel.plot([places[node][0], output[0]], [0, 0], color="#dddddd", lw=1, zorder=0)
    names = {node: str(node) for node in range(inputs, nodes)}
    names |= {0: "before", 1: "last"} if inputs == 2 else {0: "last"}
    for node, (x, y) in [*places.items(), (nodes, output)]:
        box = {"boxstyle": "round,pad=0.4", "fc": "#f4f4f4", "ec": "#555555"}
        panel.text(x, y, names.get(node, "out"), ha="center", va="center", fontsize=10, bbox=box)
    panel.set(xlim=(-0.6, output[0] + 0.5), ylim=(-2.6, 2.6), aspect="equal")
    panel.axis("off")


def _label(panel: Axes, middle: tuple[float, float], edge: DrawnEdge, colours: dict[str, str]) -> None:
    """A dot for each operation, and the edge's weight above them."""
    x, y = middle
    for number, name in enumerate(edge.operations):
        place = x + _DOT * (number - (len(edge.operations) - 1) / 2)
        panel.plot([place], [y], "o", color=colours[name], markersize=7, markeredgecolor="white", zorder=3)
    if edge.weight is not None:
        panel.text(x, y + 0.2, f"{edge.weight:.2f}", fontsize=9, ha="center", va="center")
