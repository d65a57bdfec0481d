"""What FTSO decides first and what second, in cells (FTSO section 3) and in layer-by-layer spaces (section 5).

In a cell the topology is which edges a node keeps, in a layer-by-layer space which layers are kept.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from search_spaces.architecture import NOTHING
from search_spaces.errors import UserError, nearest
from tuners.most_probable import most_probable_within

if TYPE_CHECKING:
    from torch import Tensor

    from search_spaces import Architecture, Budget, Costs, SearchSpace
    from search_spaces.costs import TableCosts

REPLACEMENTS = ("sep_conv_3x3", "nor_conv_3x3")
"""Of these the one that a space of cells has takes the place of its skip connections, if nothing else is asked for."""
SIMPLEST = "skip_connect"
SKIP = "skip"


class Topologies(ABC):
    """The two searches of a space.

    Attributes:
        learns: how the first search learns, as settings of `Mixture`; the second learns operations as well.
        simplest: the space of the first search: the simplest operators alone.
    """

    learns: Mapping[str, Any]
    simplest: SearchSpace

    @abstractmethod
    def kept(self, most_probable: Architecture, alpha: Tensor) -> frozenset[int]:
        """The places that the topology keeps, by the positions of their choices.

        Args:
            most_probable: the discrete architecture of the first search.
            alpha: what it has learnt, shape (choices, most options of a choice).
        """

    @abstractmethod
    def pruned(self, kept: frozenset[int], most_probable: Architecture) -> Architecture:
        """The topology with the simplest operators: what the first search's weights can answer for."""

    @abstractmethod
    def replaced(self, kept: frozenset[int]) -> Architecture:
        """The topology with one powerful operator in every kept place."""

    @abstractmethod
    def remaining(self, kept: frozenset[int]) -> SearchSpace:
        """The space of the second search: every operator in every kept place."""

    @abstractmethod
    def chosen(self, space: SearchSpace, most_probable: Architecture, alpha: Tensor) -> Architecture:
        """What the second search, over `space`, ends with."""


class CellTopologies(Topologies):
    """Each node keeps its strongest inputs."""

    def __init__(self, space: SearchSpace, operators: Sequence[str], replacement: str | None) -> None:
        """Several operators are weighed against each other, and against `none` where a choice has it.

        Raises:
            UserError: if a choice has no such operator, or an edge cannot be left out.
        """
        options = space.choices[0].options
        if replacement is None:
            replacement = next((name for name in REPLACEMENTS if name in options), REPLACEMENTS[0])
        for name in (*operators, replacement):
            if name not in options or name == NOTHING:
                known = [option for option in options if option != NOTHING]
                raise UserError(f"The edges of {space.name} have no operator {name!r}; {nearest(name, known)}")
        self._space, self._operators, self._replacement = space, list(operators), replacement
        self.learns = {"operations": len(operators) > 1, "edges": "softmax", "rank": "edges"}
        self.simplest = space.restrict(
            {choice.name: [*operators, *(set(choice.options) & {NOTHING})] for choice in space.choices}
        )

    def kept(self, most_probable: Architecture, alpha: Tensor) -> frozenset[int]:
        taken = zip(self._space.choices, most_probable.indices, strict=True)
        return frozenset(place for place, (choice, value) in enumerate(taken) if choice.write(value) != NOTHING)

    def pruned(self, kept: frozenset[int], most_probable: Architecture) -> Architecture:
        return most_probable

    def replaced(self, kept: frozenset[int]) -> Architecture:
        words = [self._replacement if place in kept else NOTHING for place in range(len(self._space.choices))]
        values = [choice.read(word) for choice, word in zip(self._space.choices, words, strict=True)]
        return self._space.architecture([value for value in values if value is not None])

    def remaining(self, kept: frozenset[int]) -> SearchSpace:
        gone = {
            choice.name: [] if choice.subset else [NOTHING]
            for place, choice in enumerate(self._space.choices)
            if place not in kept
        }
        return self._space.restrict(gone)

    def chosen(self, space: SearchSpace, most_probable: Architecture, alpha: Tensor) -> Architecture:
        return most_probable


class LayerTopologies(Topologies):
    """A weight for each layer says whether it is kept or skipped; the budget says how many are.

    In the first search a layer is its cheapest operator. What it is counted as when the budget decides is what stands
    there in the end: the operator that replaces it, or, where operators are searched, again the cheapest, so that the
    second search has the most layers to share the budget among.
    """

    def __init__(self, space: SearchSpace, costs: Costs, budget: Budget, replacement: str | None, search: bool) -> None:
        """`replacement` is the costliest operator of each layer, if nothing else is asked for.

        Raises:
            UserError: if no layer can be skipped, a layer has no such operator, or what is left cannot meet the budget.
        """
        self.learns = {"operations": True, "edges": "none", "inputs": None}
        self._space, self._table, self._budget = space, costs.as_table(), budget
        macs = self._table.table["macs"].tolist()
        self._cheapest, self._replacement, self._skippable = [], [], []
        for choice, row in zip(space.choices, macs, strict=True):
            operators = [option for option, name in enumerate(choice.options) if name != SKIP]
            cheapest, costliest = (extreme(operators, key=lambda option: row[option]) for extreme in (min, max))
            if replacement in choice.options:
                costliest = choice.options.index(replacement)
            elif replacement is not None and len(operators) > 1:
                known = [choice.options[option] for option in operators]
                raise UserError(f"{choice.name} of {space.name} has no {replacement!r}; {nearest(replacement, known)}")
            self._cheapest.append(cheapest)
            self._replacement.append(costliest)
            self._skippable.append(SKIP in choice.options)
        if not any(self._skippable):
            raise UserError(
                f"{space.name} has no layer that can be skipped: FTSO searches the edges of cells, such as those of "
                "darts and nats-bench, or which layers of a space such as fbnet are kept."
            )
        self.simplest = self._either(self._cheapest)
        self._counted = self._cheapest if search else self._replacement
        budget.check(self._costs_of(self._either(self._counted)))

    def kept(self, most_probable: Architecture, alpha: Tensor) -> frozenset[int]:
        theta = alpha.clone()
        for row, cheapest, counted in zip(theta, self._cheapest, self._counted, strict=True):
            row[counted] = row[cheapest].item()
        found = most_probable_within(self._either(self._counted), self._table, self._budget, theta)
        return frozenset(place for place, option in enumerate(found.indices) if option == self._counted[place])

    def pruned(self, kept: frozenset[int], most_probable: Architecture) -> Architecture:
        return self._with(self._cheapest, kept)

    def replaced(self, kept: frozenset[int]) -> Architecture:
        return self._with(self._replacement, kept)

    def remaining(self, kept: frozenset[int]) -> SearchSpace:
        return self._space.restrict(
            {
                choice.name: [name for name in choice.options if (name != SKIP) == (place in kept)]
                for place, choice in enumerate(self._space.choices)
            }
        )

    def chosen(self, space: SearchSpace, most_probable: Architecture, alpha: Tensor) -> Architecture:
        return most_probable_within(space, self._table, self._budget, alpha)

    def _either(self, operators: Sequence[int]) -> SearchSpace:
        """The space in which each layer is this operator or skipped."""
        return self._space.restrict(
            {
                choice.name: {choice.options[operator], *(set(choice.options) & {SKIP})}
                for choice, operator in zip(self._space.choices, operators, strict=True)
            }
        )

    def _with(self, operators: Sequence[int], kept: frozenset[int]) -> Architecture:
        return self._space.architecture(
            [
                operator if place in kept else choice.options.index(SKIP)
                for place, (choice, operator) in enumerate(zip(self._space.choices, operators, strict=True))
            ]
        )

    def _costs_of(self, space: SearchSpace) -> TableCosts:
        return replace(self._table, surviving=space.surviving)
