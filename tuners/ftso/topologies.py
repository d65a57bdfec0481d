"""The two searches of FTSO, first topology and second operators, in cells and in layer-by-layer spaces.

In a cell (FTSO section 3) the topology is the set of edges that the nodes keep. In a layer-by-layer space (section 5)
it is the set of layers that are kept. Both sets hold the positions of the kept choices.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from search_spaces.architecture import NOTHING
from search_spaces.errors import UserError, nearest
from tuners.most_probable import most_probable_within

if TYPE_CHECKING:
    from torch import Tensor

    from search_spaces import Architecture, Budget, Costs, SearchSpace

DEFAULT_REPLACEMENTS = ("sep_conv_3x3", "nor_conv_3x3")
"""The first of these that a space of cells has replaces the skip connections by default."""
SIMPLEST_OPERATOR = "skip_connect"
SKIP = "skip"
EdgeWeights = Literal["softmax", "raw"]


class Topologies(ABC):
    """The two searches of a space.

    Attributes:
        learns: settings of `Mixture` that say what the first search learns.
        learns_second: the same of the second search, which learns operations.
        simplest: the space of the first search: the simplest operators alone.
    """

    learns: Mapping[str, Any]
    learns_second: Mapping[str, Any]
    simplest: SearchSpace

    @abstractmethod
    def select_kept(self, most_probable: Architecture, alpha: Tensor) -> frozenset[int]:
        """Return the positions of the choices that the topology keeps.

        Args:
            most_probable: the discrete architecture of the first search.
            alpha: the learnt parameters of the first search, shape (choices, most options of a choice).
        """

    @abstractmethod
    def prune(self, kept: frozenset[int], most_probable: Architecture) -> Architecture:
        """Return the topology with the simplest operators, which the first search's weights can run."""

    @abstractmethod
    def replace_operators(self, kept: frozenset[int]) -> Architecture:
        """Return the topology with a powerful operator in every kept choice."""

    @abstractmethod
    def restrict_to_kept(self, kept: frozenset[int]) -> SearchSpace:
        """Return the space of the second search: every operator in every kept choice."""

    @abstractmethod
    def choose_operators(self, space: SearchSpace, most_probable: Architecture, alpha: Tensor) -> Architecture:
        """Return the architecture at the end of the second search.

        Args:
            space: the space of the second search.
            most_probable: the discrete architecture of the second search.
            alpha: the learnt parameters of the second search, shape (choices, most options of a choice).
        """


class CellTopologies(Topologies):
    """The searches in cells: each node keeps its strongest inputs."""

    def __init__(
        self,
        space: SearchSpace,
        operators: Sequence[str],
        replacement: str | None,
        edge_weights: EdgeWeights = "softmax",
    ) -> None:
        """Prepare the searches.

        Args:
            operators: of the first search. Several operators compete with each other, and with `none` if a choice has
                it.
            replacement: the powerful operator; None takes the default.
            edge_weights: the factors of the edges in the first search: the softmax of beta, or beta itself.

        Raises:
            UserError: if a choice has no such operator.
        """
        options = space.choices[0].options
        if replacement is None:
            replacement = next((name for name in DEFAULT_REPLACEMENTS if name in options), DEFAULT_REPLACEMENTS[0])
        for name in (*operators, replacement):
            if name not in options or name == NOTHING:
                known = [option for option in options if option != NOTHING]
                raise UserError(f"The edges of {space.name} have no operator {name!r}; {nearest(name, known)}")
        self._space, self._replacement = space, replacement
        self.learns = {"operations": len(operators) > 1, "edges": edge_weights, "rank_inputs_by": "edges"}
        self.learns_second = {"operations": True, "edges": "softmax"}
        self.simplest = space.restrict(
            {choice.name: [*operators, *(set(choice.options) & {NOTHING})] for choice in space.choices}
        )

    def select_kept(self, most_probable: Architecture, alpha: Tensor) -> frozenset[int]:
        values = zip(self._space.choices, most_probable.indices, strict=True)
        return frozenset(edge for edge, (choice, value) in enumerate(values) if choice.write(value) != NOTHING)

    def prune(self, kept: frozenset[int], most_probable: Architecture) -> Architecture:
        return most_probable

    def replace_operators(self, kept: frozenset[int]) -> Architecture:
        words = [self._replacement if edge in kept else NOTHING for edge in range(len(self._space.choices))]
        values = [choice.read(word) for choice, word in zip(self._space.choices, words, strict=True)]
        return self._space.architecture([value for value in values if value is not None])

    def restrict_to_kept(self, kept: frozenset[int]) -> SearchSpace:
        removed = {
            choice.name: [] if choice.subset else [NOTHING]
            for edge, choice in enumerate(self._space.choices)
            if edge not in kept
        }
        return self._space.restrict(removed)

    def choose_operators(self, space: SearchSpace, most_probable: Architecture, alpha: Tensor) -> Architecture:
        return most_probable


class LayerTopologies(Topologies):
    """The searches in layer-by-layer spaces: each layer is kept or skipped, and the budget limits the kept layers.

    The first search runs a layer with its cheapest operator. The budget counts a kept layer with its final operator:
    the replacement or, if operators are searched, again the cheapest. Counting the cheapest leaves the second search
    the most layers to share the budget among.
    """

    def __init__(self, space: SearchSpace, costs: Costs, budget: Budget, replacement: str | None, search: bool) -> None:
        """Prepare the searches.

        Args:
            replacement: the powerful operator of every layer; None takes each layer's costliest operator.
            search: whether the operators are searched, not replaced.

        Raises:
            UserError: if no layer can be skipped, a layer has no such operator, or no topology can meet the budget.
        """
        self.learns = self.learns_second = {"operations": True, "edges": "none", "inputs": None}
        self._space, self._table, self._budget = space, costs.as_table(), budget
        macs = self._table.table["macs"].tolist()
        self._cheapest, self._replacement = [], []
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
        if not any(SKIP in choice.options for choice in space.choices):
            raise UserError(
                f"{space.name} has no layer that can be skipped: FTSO searches the edges of cells, such as those of "
                "darts and nats-bench, or which layers of a space such as fbnet are kept."
            )
        self.simplest = self._operator_or_skip(self._cheapest)
        self._counted = self._cheapest if search else self._replacement
        budget.check(replace(self._table, surviving=self._operator_or_skip(self._counted).surviving))

    def select_kept(self, most_probable: Architecture, alpha: Tensor) -> frozenset[int]:
        theta = alpha.clone()
        for row, cheapest, counted in zip(theta, self._cheapest, self._counted, strict=True):
            row[counted] = row[cheapest].item()
        space = self._operator_or_skip(self._counted)
        architecture = most_probable_within(space, self._table, self._budget, theta)
        return frozenset(layer for layer, option in enumerate(architecture.indices) if option == self._counted[layer])

    def prune(self, kept: frozenset[int], most_probable: Architecture) -> Architecture:
        return self._architecture(self._cheapest, kept)

    def replace_operators(self, kept: frozenset[int]) -> Architecture:
        return self._architecture(self._replacement, kept)

    def restrict_to_kept(self, kept: frozenset[int]) -> SearchSpace:
        return self._space.restrict(
            {
                choice.name: [name for name in choice.options if (name != SKIP) == (layer in kept)]
                for layer, choice in enumerate(self._space.choices)
            }
        )

    def choose_operators(self, space: SearchSpace, most_probable: Architecture, alpha: Tensor) -> Architecture:
        return most_probable_within(space, self._table, self._budget, alpha)

    def _operator_or_skip(self, operators: Sequence[int]) -> SearchSpace:
        """Return the space in which each layer has its operator of the list, or is skipped."""
        return self._space.restrict(
            {
                choice.name: {choice.options[operator], *(set(choice.options) & {SKIP})}
                for choice, operator in zip(self._space.choices, operators, strict=True)
            }
        )

    def _architecture(self, operators: Sequence[int], kept: frozenset[int]) -> Architecture:
        """Return the architecture with these operators in kept layers, and skip in the other layers."""
        return self._space.architecture(
            [
                operator if layer in kept else choice.options.index(SKIP)
                for layer, (choice, operator) in enumerate(zip(self._space.choices, operators, strict=True))
            ]
        )
