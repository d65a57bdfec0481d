"""The nouns of a search: a choice, an architecture, and the space that its choices span.

A space is a value. Pruning it (`restrict`) gives another space over the same weights: option indices always refer to
the choice's full option list, so architectures, tables and weights stay valid whatever has been pruned.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from search_spaces.errors import UserError, nearest

if TYPE_CHECKING:
    from torch import Tensor, nn

    from search_spaces.chain_supernet import ChainSupernet
    from search_spaces.costs import Costs
    from search_spaces.latency import LatencyTable


@dataclass(frozen=True)
class Choice:
    """One decision. `name` is `group.index` (`stage3.1`); the text form of an architecture writes a group at a time."""

    name: str
    options: tuple[str, ...]

    @property
    def group(self) -> str:
        return self.name.rpartition(".")[0]


@dataclass(frozen=True)
class Architecture:
    """One option index a choice. Equal and hashed by space and indices; `str()` gives the text that parses back."""

    space: str
    indices: tuple[int, ...]
    text: str = field(compare=False)

    def __str__(self) -> str:
        return self.text


class SearchSpace(ABC):
    """Choices, what each of them may still take, what an architecture costs and how to build it.

    Attributes:
        name: the family's name, under which `search_spaces.load` finds it.
        settings: the keyword arguments that rebuild the unrestricted space: plain JSON.
        choices: every decision with its full list of options.
        surviving: for each choice, the indices of the options that have not been pruned, in rising order.
        resolution: the input images' height and width in pixels.
        num_classes: the classifier's width where none is asked for.
        paper: where the space comes from.
    """

    name: str
    settings: Mapping[str, Any]
    choices: tuple[Choice, ...]
    surviving: tuple[tuple[int, ...], ...]
    resolution: int
    num_classes: int
    paper: str

    def size(self) -> int:
        """The exact number of architectures."""
        return math.prod(len(options) for options in self.surviving)

    def sample(self, generator: np.random.Generator) -> Architecture:
        """One architecture, each choice uniform over its surviving options."""
        drawn = generator.integers([len(options) for options in self.surviving])
        return self.architecture([options[index] for options, index in zip(self.surviving, drawn, strict=True)])

    def architecture(self, indices: Sequence[int]) -> Architecture:
        """The architecture with these option indices.

        Raises:
            UserError: if there is not one index a choice, or an index is not a surviving option of its choice.
        """
        if len(indices) != len(self.choices):
            raise UserError(f"An architecture of {self.name} has {len(self.choices)} choices, not {len(indices)}.")
        for choice, index, surviving in zip(self.choices, indices, self.surviving, strict=True):
            if index not in surviving:
                options = ", ".join(choice.options[option] for option in surviving)
                given = choice.options[index] if 0 <= index < len(choice.options) else index
                raise UserError(f"{choice.name} of {self.name} cannot be {given}; it can be {options}.")
        return Architecture(self.name, tuple(indices), self._text(indices))

    def _text(self, indices: Sequence[int]) -> str:
        groups: dict[str, list[str]] = {}
        for choice, index in zip(self.choices, indices, strict=True):
            groups.setdefault(choice.group, []).append(choice.options[index])
        return f"{self.name}: " + " | ".join(" ".join(options) for options in groups.values())

    def parse(self, text: str) -> Architecture:
        """The architecture that `str()` wrote.

        Raises:
            UserError: if the text names another space, or an option that its choice does not have.
        """
        name, colon, body = text.partition(":")
        if not colon or name.strip() != self.name:
            raise UserError(
                f"This is not an architecture of {self.name}: {text!r}; it would begin with '{self.name}:'."
            )
        words = body.replace("|", " ").split()
        if len(words) != len(self.choices):
            raise UserError(f"An architecture of {self.name} has {len(self.choices)} choices, not {len(words)}.")
        indices = []
        for choice, word in zip(self.choices, words, strict=True):
            if word not in choice.options:
                raise UserError(
                    f"{choice.name} of {self.name} cannot be {word!r}; it can be {', '.join(choice.options)}."
                )
            indices.append(choice.options.index(word))
        return self.architecture(indices)

    def __contains__(self, architecture: Architecture) -> bool:
        return (
            architecture.space == self.name
            and len(architecture.indices) == len(self.choices)
            and all(index in options for index, options in zip(architecture.indices, self.surviving, strict=True))
        )

    def restrict(self, surviving: Mapping[str, Iterable[str]]) -> Self:
        """The space in which each named choice keeps only these options; the other choices stay as they are.

        Raises:
            UserError: if a choice or an option is unknown, already pruned, or nothing of a choice is left.
        """
        by_name = {choice.name: position for position, choice in enumerate(self.choices)}
        kept = list(self.surviving)
        for name, options in surviving.items():
            if name not in by_name:
                raise UserError(f"{self.name} has no choice {name!r}; {nearest(name, by_name)}")
            choice = self.choices[by_name[name]]
            wanted = set(options)
            present = {choice.options[index] for index in kept[by_name[name]]}
            if not wanted or not wanted <= present:
                missing = ", ".join(sorted(wanted - present)) or "nothing at all"
                raise UserError(f"{name} of {self.name} can keep {', '.join(sorted(present))}, but not {missing}.")
            kept[by_name[name]] = tuple(i for i, option in enumerate(choice.options) if option in wanted)
        restricted = copy.copy(self)
        restricted.surviving = tuple(kept)
        return restricted

    def only(self, architecture: Architecture) -> Self:
        """The space whose one architecture is this one: what stand-alone training trains."""
        return self.restrict({c.name: [c.options[i]] for c, i in zip(self.choices, architecture.indices, strict=True)})

    def specification(self) -> dict[str, Any]:
        """Plain JSON from which `search_spaces.from_specification` rebuilds this very space in another process."""
        restriction = {
            choice.name: [choice.options[index] for index in options]
            for choice, options in zip(self.choices, self.surviving, strict=True)
            if len(options) < len(choice.options)
        }
        return {"name": self.name, "settings": dict(self.settings), "restriction": restriction}

    @abstractmethod
    def supernet(self, num_classes: int | None = None) -> ChainSupernet:
        """One network that holds the weights of every surviving option; images in, logits out, one path at a time."""

    @abstractmethod
    def network(self, architecture: Architecture, num_classes: int | None = None) -> nn.Module:
        """The stand-alone network of one architecture: shape (N, 3, resolution, resolution) to (N, num_classes)."""

    @abstractmethod
    def network_state(self, architecture: Architecture, supernet_state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The stand-alone network's state dict, its weights taken from a supernet's; no tensor is copied."""

    @abstractmethod
    def costs(
        self, resolution: int | None = None, num_classes: int | None = None, latency: LatencyTable | None = None
    ) -> Costs:
        """Multiply-adds, parameters and, with a table, latency of any architecture of this space.

        Raises:
            UserError: if the images are too small for the strides, or the table lacks a surviving block.
        """
