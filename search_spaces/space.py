"""The nouns of a search: a choice, an architecture, and the space that its choices span.

A space is a value. Pruning it (`restrict`) gives another space over the same weights: option indices always refer to
the choice's full option list, so architectures, tables and weights stay valid whatever has been pruned.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from search_spaces.architecture import NOTHING, Architecture, Choice
from search_spaces.errors import UserError, nearest
from search_spaces.vital_blocks import Link, vital

if TYPE_CHECKING:
    from torch import Tensor, nn

    from search_spaces.costs import Costs
    from search_spaces.latency_table import LatencyKey, LatencyTable, TimedBlock
    from search_spaces.supernet import Supernet


CountingMode = Literal["macs", "paper"]


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
        file: what a user's own space is made from: the `suffix` and the `text` of its file.
    """

    name: str
    settings: Mapping[str, Any]
    choices: tuple[Choice, ...]
    surviving: tuple[tuple[int, ...], ...]
    resolution: int
    num_classes: int
    paper: str = ""
    file: Mapping[str, str] | None = None
    _only: tuple[int, ...] | None = None
    """The one architecture that this space is left with, where what survives does not say it: subsets."""

    def size(self) -> int:
        """The exact number of architectures."""
        return math.prod(map(len, self.values()))

    def sample(self, generator: np.random.Generator) -> Architecture:
        """One architecture, each choice uniform over what it can be."""
        values = self.values()
        drawn = generator.integers([len(options) for options in values])
        return self.architecture([options[index] for options, index in zip(values, drawn, strict=True)])

    def values(self) -> list[tuple[int, ...]]:
        """For each choice, all that it can be."""
        if self._only is not None:
            return [(value,) for value in self._only]
        return [choice.values(options) for choice, options in zip(self.choices, self.surviving, strict=True)]

    def architecture(self, indices: Sequence[int]) -> Architecture:
        """The architecture with these option indices.

        Raises:
            UserError: if there is not one index a choice, or an index stands for no surviving option of its choice.
        """
        if len(indices) != len(self.choices):
            raise UserError(f"An architecture of {self.name} has {len(self.choices)} choices, not {len(indices)}.")
        for choice, index, surviving in zip(self.choices, indices, self.surviving, strict=True):
            if not choice.allows(index, surviving):
                known = choice.allows(index, range(len(choice.options)))
                given = choice.write(index) if known else index
                raise UserError(f"{choice.name} of {self.name} cannot be {given}; {_possible(choice, surviving)}")
        return Architecture(self.name, tuple(indices), self._text(indices))

    def _text(self, indices: Sequence[int]) -> str:
        groups: dict[str, list[str]] = {}
        for choice, index in zip(self.choices, indices, strict=True):
            groups.setdefault(choice.group, []).append(choice.write(index))
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
            value = choice.read(word)
            if value is None:
                everything = range(len(choice.options))
                raise UserError(f"{choice.name} of {self.name} cannot be {word!r}; {_possible(choice, everything)}")
            indices.append(value)
        return self.architecture(indices)

    def canonical(self, architecture: Architecture) -> Architecture:
        """The architecture that stands for all whose network, trained alone, is the same as this one's.

        Where nothing is known of such architectures, it is the architecture itself. It is one of the unrestricted
        space: what was pruned from this one may be in it. Only networks that are trained alone are the same: in a
        supernet each architecture has weights of its own.
        """
        return architecture

    def __contains__(self, architecture: Architecture) -> bool:
        return (
            architecture.space == self.name
            and len(architecture.indices) == len(self.choices)
            and self._only in (None, architecture.indices)
            and all(
                choice.allows(index, options)
                for choice, index, options in zip(self.choices, architecture.indices, self.surviving, strict=True)
            )
        )

    def restrict(self, surviving: Mapping[str, Iterable[str]]) -> Self:
        """The space in which each named choice keeps only these options; the other choices stay as they are.

        Raises:
            UserError: if a choice or an option is unknown, already pruned, or a choice that takes one keeps none.
        """
        by_name = {choice.name: position for position, choice in enumerate(self.choices)}
        kept = list(self.surviving)
        for name, options in surviving.items():
            if name not in by_name:
                raise UserError(f"{self.name} has no choice {name!r}; {nearest(name, by_name)}")
            choice = self.choices[by_name[name]]
            wanted = set(options)
            present = {choice.options[index] for index in kept[by_name[name]]}
            if not (wanted or choice.subset) or not wanted <= present:
                missing = ", ".join(sorted(wanted - present)) or "nothing at all"
                raise UserError(f"{name} of {self.name} can keep {', '.join(sorted(present))}, but not {missing}.")
            kept[by_name[name]] = tuple(i for i, option in enumerate(choice.options) if option in wanted)
        restricted = copy.copy(self)
        restricted.surviving = tuple(kept)
        return restricted

    def only(self, architecture: Architecture) -> Self:
        """The space whose one architecture is this one: what stand-alone training trains."""
        taken = zip(self.choices, map(Choice.taken, self.choices, architecture.indices), strict=True)
        fixed = self.restrict({choice.name: [choice.options[i] for i in options] for choice, options in taken})
        if any(choice.subset for choice in self.choices):
            fixed._only = architecture.indices
        return fixed

    def vital(self) -> list[Choice]:
        """The choices that no path from the images to the logits avoids (HourNAS section 3.1), from the graph."""
        return [self.choices[position] for position in vital(self.links())]

    @abstractmethod
    def links(self) -> list[Link]:
        """The network as a graph: what each choice decides, and what is always there, between feature maps."""

    def specification(self) -> dict[str, Any]:
        """Plain JSON from which `search_spaces.from_specification` rebuilds this very space in another process."""
        restriction = {
            choice.name: [choice.options[index] for index in options]
            for choice, options in zip(self.choices, self.surviving, strict=True)
            if len(options) < len(choice.options)
        }
        whole = {"name": self.name, "settings": dict(self.settings), "restriction": restriction}
        if self.file is not None:
            whole["file"] = dict(self.file)
        return whole if self._only is None else {**whole, "only": list(self._only)}

    @abstractmethod
    def supernet(self, num_classes: int | None = None) -> Supernet:
        """One network that holds the weights of every surviving option; images in, logits out, one path at a time."""

    @abstractmethod
    def network(self, architecture: Architecture, num_classes: int | None = None) -> nn.Module:
        """The stand-alone network of one architecture: shape (N, 3, resolution, resolution) to (N, num_classes)."""

    @abstractmethod
    def network_state(self, architecture: Architecture, supernet_state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The stand-alone network's state dict, its weights taken from a supernet's; no tensor is copied."""

    @abstractmethod
    def costs(
        self,
        resolution: int | None = None,
        num_classes: int | None = None,
        latency: LatencyTable | None = None,
        counting: CountingMode = "macs",
    ) -> Costs:
        """Multiply-adds, parameters and, with a table, latency of any architecture of this space.

        Args:
            counting: `macs` counts as `torch.utils.flop_counter` and `numel` do, `paper` as the paper did.

        Raises:
            UserError: if the images are too small for the strides, or the table lacks a surviving block.
        """

    def latency_blocks(self) -> Mapping[LatencyKey, TimedBlock]:
        """Every block that a latency table of this space needs, ready to be built and measured.

        Raises:
            UserError: if the space does not say which blocks it has, as one of a user's own may not.
        """
        raise UserError(
            f"{self.name} does not say which blocks a latency table of it would hold; its class needs latency_blocks()."
        )


def _possible(choice: Choice, surviving: Iterable[int]) -> str:
    options = ", ".join(choice.options[option] for option in surviving)
    return f"it can be any of {options}, joined by '+', or {NOTHING}." if choice.subset else f"it can be {options}."
