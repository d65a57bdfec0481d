"""The result of a cell search: any number of weighted operations on an edge, any number of weighted edges into a node.

As text, an operation stands with its weight, and an edge with its own weight. `skip_connect*0.2+sep_conv_3x3*0.5@0.31`
adds to its node 0.31 times (0.2 times its source plus 0.5 times the convolution of its source). A removed edge is
`none`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from search_spaces.architecture import NOTHING, Architecture, Choice
from search_spaces.cell.space import CellSpace
from search_spaces.errors import UserError, format_count

if TYPE_CHECKING:
    from torch import Tensor

    from search_spaces.cell.supernet import CellNetwork

FILE = "genotype.txt"
"""The file of a genotype's text in a run folder."""
_NUMBER = r"\d+(?:\.\d+)?(?:e-?\d+)?"
_EDGE = re.compile(rf"(?P<operations>\w+\*{_NUMBER}(?:\+\w+\*{_NUMBER})*)@(?P<edge>{_NUMBER})")


@dataclass(frozen=True)
class Genotype:
    """The rest of a mixture after the search (HM-NAS equations 1 to 4). `str()` gives text that parses back exactly.

    Attributes:
        space: a space whose edges take any number of operations.
        architecture: the remaining operations.
        operations: for each choice, the weights of its options; 0 if the option or the whole edge is removed.
        edges: the weights of the edges; 0 if an edge is removed.
    """

    space: CellSpace
    architecture: Architecture
    operations: tuple[tuple[float, ...], ...]
    edges: tuple[float, ...]

    @classmethod
    def of(cls, space: CellSpace, operations: Sequence[Sequence[float]], edges: Sequence[float]) -> Self:
        """Return the genotype of these weights, in single precision. An edge without operations or weight is removed.

        Raises:
            UserError: if an edge of the space takes one operation only.
        """
        check_edges_take_subsets(space)
        single = np.array(edges, np.float32), np.array([list(row) for row in operations], np.float32)
        kept = (single[1] != 0) & (single[0] != 0)[:, None]
        rows = (single[1] * kept).tolist()
        values = [sum(1 << option for option, weight in enumerate(row) if weight) for row in rows]
        left = (single[0] * kept.any(axis=1)).tolist()
        return cls(space, space.architecture(values), tuple(tuple(row) for row in rows), tuple(left))

    @property
    def weights(self) -> Tensor:
        """The factor of each operation's output, shape (choices, options)."""
        import torch

        return torch.tensor(self.operations) * torch.tensor(self.edges)[:, None]

    def network(self, num_classes: int | None = None) -> CellNetwork:
        """Build the compact network, without the removed parts. It loads the result of `CellSpace.network_state`."""
        return self.space.network(self.architecture, num_classes, self.weights)

    def __str__(self) -> str:
        groups: dict[str, list[str]] = {}
        for choice, row, edge in zip(self.space.choices, self.operations, self.edges, strict=True):
            words = [f"{name}*{_short(weight)}" for name, weight in zip(choice.options, row, strict=True) if weight]
            groups.setdefault(choice.group, []).append(f"{'+'.join(words)}@{_short(edge)}" if words else NOTHING)
        return f"{self.space.name}: " + " | ".join(" ".join(words) for words in groups.values())

    @classmethod
    def parse(cls, space: CellSpace, text: str) -> Self:
        """Return the genotype that `str()` wrote.

        Raises:
            UserError: if the text belongs to another space, or is no genotype. It names the edge.
        """
        name, _, body = text.partition(":")
        if name.strip() != space.name:
            raise UserError(f"This is not a genotype of {space.name}: {text!r}; it would begin with '{space.name}:'.")
        words = body.replace("|", " ").split()
        if len(words) != len(space.choices):
            raise UserError(
                f"A genotype of {space.name} has {format_count(len(space.choices), 'edge')}, not {len(words)}."
            )
        read = [_read(choice, word) for choice, word in zip(space.choices, words, strict=True)]
        return cls.of(space, [operations for operations, _ in read], [edge for _, edge in read])


def check_edges_take_subsets(space: CellSpace) -> None:
    """Raise UserError if an edge takes one operation only."""
    if not all(choice.subset for choice in space.choices):
        raise UserError(
            f"A genotype keeps any number of operations on an edge, but an edge of {space.name} takes one: set "
            "space.subset=true if the space has that setting, as darts has."
        )


def _read(choice: Choice, word: str) -> tuple[list[float], float]:
    """Return the weights of an edge's options, and the edge's weight."""
    weights = dict.fromkeys(choice.options, 0.0)
    if word == NOTHING:
        return list(weights.values()), 0.0
    parts = _EDGE.fullmatch(word)
    pairs = [pair.split("*") for pair in parts["operations"].split("+")] if parts else []
    if parts is None or len({name for name, _ in pairs}) < len(pairs) or not {name for name, _ in pairs} <= {*weights}:
        example = f"{choice.options[0]}*0.5@0.25"
        raise UserError(
            f"{choice.name} cannot be {word!r}: write {example} or {NOTHING}, of the operations "
            f"{', '.join(choice.options)}."
        )
    weights.update({name: float(weight) for name, weight in pairs})
    values = [*weights.values(), float(parts["edge"])]
    if not all(math.isfinite(value) for value in values):
        raise UserError(f"{choice.name} has a weight in {word!r} that is not a number.")
    return list(weights.values()), float(parts["edge"])


def _short(weight: float) -> str:
    """Return the shortest decimal that equals this number in single precision."""
    return str(np.float32(weight))
