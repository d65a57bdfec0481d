"""The text in which DARTS, PC-DARTS, P-DARTS and others publish cells.

    Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ...], normal_concat=range(2, 6), reduce=[...],
             reduce_concat=range(2, 6))

Nodes 0 and 1 are a cell's inputs. The pairs of `normal` and `reduce` are operations and their source nodes, two for
each node from node 2 on. The cell's output concatenates the nodes of `normal_concat`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass

from search_spaces.architecture import NOTHING, Architecture, Choice
from search_spaces.errors import UserError, format_count

INPUTS = 2
"""The inputs of a cell, and the pairs of each node."""
_KINDS = ("normal", "reduce")
_FORM = re.compile(r"(?:[\w-]+\s*:\s*)?(?:\w+\s*=\s*)?Genotype\s*\(")
_EXAMPLE = (
    "write Genotype(normal=[('sep_conv_3x3', 0), ...], normal_concat=range(2, 6), reduce=[...], "
    "reduce_concat=range(2, 6))"
)
Pairs = list[tuple[str, int]]
"""Operations and their source nodes."""


def is_public_genotype(text: str) -> bool:
    """Return whether a text has this form, perhaps after `SPACE:` or `NAME =`."""
    return _FORM.match(text.strip()) is not None


@dataclass(frozen=True)
class PublicGenotype:
    """The two cells of a published text.

    Attributes:
        cells: of the kinds `normal` and `reduce`: for each node from node 2 on, its operations and their source nodes.
    """

    cells: dict[str, list[Pairs]]

    @classmethod
    def parse(cls, text: str, nodes: int) -> PublicGenotype:
        """Return the cells of a text, which is read as literals and never run.

        Args:
            nodes: the nodes of a cell without its output.

        Raises:
            UserError: if the text has another form, another number of nodes, or concatenates other nodes.
        """
        fields = _read_fields(text)
        cells = {}
        for kind in _KINDS:
            pairs = _read_pairs(kind, fields[kind])
            steps = nodes - INPUTS
            if len(pairs) != INPUTS * steps:
                raise UserError(
                    f"{kind} of the Genotype has {len(pairs)} pairs; it needs {INPUTS * steps}, two for each of "
                    f"{format_count(steps, 'node')}."
                )
            cells[kind] = [pairs[INPUTS * node : INPUTS * (node + 1)] for node in range(steps)]
            for number, inputs in enumerate(cells[kind], INPUTS):
                for name, source in inputs:
                    if not 0 <= source < number:
                        raise UserError(
                            f"{kind} of the Genotype has {(name, source)!r} into node {number}; the source of its "
                            f"inputs is a node from 0 to {number - 1}."
                        )
            _check_concat(f"{kind}_concat", fields[f"{kind}_concat"], range(INPUTS, nodes))
        return cls(cells)

    def value(self, kind: str, target: int, source: int, choice: Choice) -> int:
        """Return the value of an edge's choice.

        Raises:
            UserError: if the choice has no such operation, cannot take two, or cannot be left out.
        """
        names = [name for name, other in self.cells[kind][target - INPUTS] if other == source and name != NOTHING]
        word = "+".join(names) or NOTHING
        value = choice.read(word)
        if value is None:
            raise UserError(
                f"{kind} of the Genotype has {word} on the edge from node {source} to node {target}, but {choice.name} "
                f"of this space has {', '.join(choice.options)}: {SETTINGS_HINT}."
            )
        return value

    def __str__(self) -> str:
        fields = []
        for kind, nodes in self.cells.items():
            pairs = [pair for inputs in nodes for pair in inputs]
            fields += [f"{kind}={pairs!r}", f"{kind}_concat=range({INPUTS}, {INPUTS + len(nodes)})"]
        return f"Genotype({', '.join(fields)})"


SETTINGS_HINT = "set operations=8, subset=false and cell_types=two of the space"


def write_public_genotype(
    choices: Sequence[Choice], edges: Sequence[tuple[int, int]], architecture: Architecture
) -> PublicGenotype | None:
    """Return the published form of an architecture; None if a node does not have exactly two operations as inputs.

    Args:
        choices: of one type of cells, or of normal and then reduction cells.
        edges: the source and the target node of each choice of a type.
    """
    values = list(zip(choices, architecture.indices, strict=True))
    halves = (values[: len(edges)], values[-len(edges) :])
    cells: dict[str, list[Pairs]] = {}
    for kind, half in zip(_KINDS, halves, strict=True):
        nodes: dict[int, Pairs] = {target: [] for _, target in edges}
        for (choice, value), (source, target) in zip(half, edges, strict=True):
            names = [choice.options[option] for option in choice.taken(value)]
            nodes[target] += [(name, source) for name in names if name != NOTHING]
        if any(len(inputs) != INPUTS for inputs in nodes.values()):
            return None
        cells[kind] = list(nodes.values())
    return PublicGenotype(cells)


def _read_fields(text: str) -> dict[str, ast.expr]:
    """Return the arguments of `Genotype(...)` by their names."""
    body = text.strip()
    try:
        tree = ast.parse(body[body.index("Genotype") :].strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UserError(f"This is no Genotype that can be read: {_EXAMPLE}.") from error
    names = [f"{kind}{end}" for kind in _KINDS for end in ("", "_concat")]
    fields = {}
    if isinstance(tree, ast.Call):
        fields = {key.arg: key.value for key in tree.keywords if key.arg is not None}
        fields |= dict(zip(names, tree.args, strict=False))
    if not isinstance(tree, ast.Call) or sorted(fields) != sorted(names):
        raise UserError(f"A Genotype has the four fields {', '.join(names)}: {_EXAMPLE}.")
    return fields


def _read_pairs(kind: str, node: ast.expr) -> Pairs:
    pairs = _literal(node)
    if not isinstance(pairs, list | tuple) or not all(map(_is_pair, pairs)):
        raise UserError(f"{kind} of the Genotype is no list of pairs such as ('sep_conv_3x3', 0): {_EXAMPLE}.")
    return [(name, source) for name, source in pairs]


def _is_pair(pair: object) -> bool:
    return isinstance(pair, list | tuple) and [type(part) for part in pair] == [str, int]


def _check_concat(name: str, node: ast.expr, nodes: range) -> None:
    """Raise UserError if a cell's output does not concatenate all its nodes."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range":
        is_all = [_literal(end) for end in node.args] == [nodes.start, nodes.stop]
    else:
        values = _literal(node)
        is_all = isinstance(values, list | tuple) and sorted(values, key=str) == list(nodes)
    if not is_all:
        raise UserError(
            f"{name} of the Genotype is {ast.unparse(node)}; cells of this space concatenate the nodes "
            f"{nodes.start} to {nodes.stop - 1}: write range({nodes.start}, {nodes.stop})."
        )


def _literal(node: ast.expr) -> object:
    """Return the value of a literal; None if it is none."""
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None
