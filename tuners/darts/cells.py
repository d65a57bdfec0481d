"""The edges and operations of cells as tensors, and the discrete cell of a weighted mixture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search_spaces.architecture import NOTHING
from search_spaces.costs import kept_options

if TYPE_CHECKING:
    from torch import Tensor

    from search_spaces import Architecture, SearchSpace


def edges_by_node(space: SearchSpace) -> list[list[int]]:
    """Return the surviving edges into each node of the cells, as positions of their choices."""
    edges: dict[str, list[int]] = {}
    for position, (choice, surviving) in enumerate(zip(space.choices, space.surviving, strict=True)):
        if any(choice.options[option] != NOTHING for option in surviving):
            edges.setdefault(choice.group, []).append(position)
    return list(edges.values())


def is_surviving(space: SearchSpace) -> Tensor:
    """Return which options survive, bool of shape (choices, most options of a choice)."""
    import torch

    return torch.from_numpy(kept_options(space.surviving, max(len(choice.options) for choice in space.choices)))


def is_operation(space: SearchSpace) -> Tensor:
    """Return which options survive and are not `none`, bool of shape (choices, most options of a choice)."""
    operations = is_surviving(space)
    for row, choice in zip(operations, space.choices, strict=True):
        if NOTHING in choice.options:
            row[choice.options.index(NOTHING)] = False
    return operations


def strongest_operation_weights(space: SearchSpace, weights: Tensor) -> Tensor:
    """Return the weight of each choice's strongest operation other than `none`, shape (choices,)."""
    return weights.masked_fill(~is_operation(space).to(weights.device), 0).amax(dim=1)


def discretise(space: SearchSpace, weights: Tensor, edge_strengths: Tensor, inputs: int | None) -> Architecture:
    """Return the discrete architecture of a weighted mixture.

    Args:
        weights: of the operations, shape (choices, most options of a choice).
        edge_strengths: the strength of each edge as an input of its node, shape (choices,).
        inputs: how many inputs a node keeps: its strongest inputs, each with its strongest operation. The other
            edges take nothing. If None, every choice takes its strongest option, which may be `none`.
    """
    values = []
    for choice, row, surviving in zip(space.choices, weights.tolist(), space.surviving, strict=True):
        operations = [option for option in surviving if inputs is None or choice.options[option] != NOTHING]
        strongest = max(operations or surviving, key=lambda option: row[option])
        values.append(1 << strongest if choice.subset else strongest)
    for edges in edges_by_node(space) if inputs is not None else ():
        for edge in sorted(edges, key=lambda edge: -float(edge_strengths[edge]))[inputs:]:
            choice = space.choices[edge]
            values[edge] = 0 if choice.subset else choice.options.index(NOTHING)
    return space.architecture(values)
