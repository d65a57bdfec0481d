"""The search space: its choices, and the interface that every kind of space implements.

A space is a value. Pruning it (`restrict`) gives another space over the same weights. Option indices always refer to
the choice's full list of options, so that architectures, tables and weights stay valid after pruning.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from search_spaces.architecture import NOTHING, Architecture, Choice
from search_spaces.errors import UserError, format_count, nearest
from search_spaces.vital_blocks import Link, vital

if TYPE_CHECKING:
    from torch import Tensor, nn

    from search_spaces.costs import Costs
    from search_spaces.latency_table import LatencyKey, LatencyTable, TimedBlock
    from search_spaces.supernet import Supernet


CountingMode = Literal["macs", "paper"]


class SearchSpace(ABC):
    """Choices, their surviving options, the costs of architectures, and how to build networks.

    Attributes:
        name: the family's name, by which `search_spaces.load` finds the space.
        settings: the keyword arguments that rebuild the unrestricted space, as plain JSON.
        choices: every decision with its full list of options.
        surviving: for each choice, the indices of its options that are not pruned, in rising order.
        resolution: the input images' height and width in pixels.
        num_classes: the classifier's default width.
        paper: the source of the space.
        file: for a user's space, the `suffix` and the `text` of its file.
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
    """The only architecture of this space. Needed for subsets, where the surviving options do not determine it."""

    def size(self) -> int:
        """Return the exact number of architectures."""
        return math.prod(map(len, self.values()))

    def sample(self, generator: np.random.Generator) -> Architecture:
        """Return a random architecture, each choice uniform over its values."""
        values = self.values()
        drawn = generator.integers([len(options) for options in values])
        return self.architecture([options[index] for options, index in zip(values, drawn, strict=True)])

    def values(self) -> list[tuple[int, ...]]:
        """Return for each choice all its values."""
        if self._only is not None:
            return [(value,) for value in self._only]
        return [choice.values(options) for choice, options in zip(self.choices, self.surviving, strict=True)]

    def architecture(self, indices: Sequence[int]) -> Architecture:
        """Return the architecture with these option indices.

        Raises:
            UserError: if the number of indices is not that of the choices, or an index is not that of a surviving
                option.
        """
        if len(indices) != len(self.choices):
            raise UserError(
                f"An architecture of {self.name} has {format_count(len(self.choices), 'choice')}, not {len(indices)}."
            )
        for choice, index, surviving in zip(self.choices, indices, self.surviving, strict=True):
            if not choice.allows(index, surviving):
                known = choice.allows(index, range(len(choice.options)))
                value = choice.write(index) if known else index
                raise UserError(f"{choice.name} of {self.name} cannot be {value}; {_possible(choice, surviving)}")
        return Architecture(self.name, tuple(indices), self._text(indices))

    def _text(self, indices: Sequence[int]) -> str:
        groups: dict[str, list[str]] = {}
        for choice, index in zip(self.choices, indices, strict=True):
            groups.setdefault(choice.group, []).append(choice.write(index))
        return f"{self.name}: " + " | ".join(" ".join(options) for options in groups.values())

    def parse(self, text: str) -> Architecture:
        """Return the architecture that `str()` wrote.

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
            raise UserError(
                f"An architecture of {self.name} has {format_count(len(self.choices), 'choice')}, not {len(words)}."
            )
        indices = []
        for choice, word in zip(self.choices, words, strict=True):
            value = choice.read(word)
            if value is None:
                all_options = range(len(choice.options))
                raise UserError(f"{choice.name} of {self.name} cannot be {word!r}; {_possible(choice, all_options)}")
            indices.append(value)
        return self.architecture(indices)

    def canonical(self, architecture: Architecture) -> Architecture:
        """Return the representative of all architectures with the same stand-alone network.

        By default an architecture represents itself. The representative belongs to the unrestricted space: its options
        may be pruned here. Only stand-alone networks are equal: in a supernet each architecture has its own weights.
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
        """Return the space in which each named choice keeps only these options; the other choices stay as they are.

        Raises:
            UserError: if a choice or an option is unknown or already pruned, or a choice that must take an option keeps
                none.
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
        """Return the space whose only architecture is this one, for stand-alone training."""
        taken = zip(self.choices, map(Choice.taken, self.choices, architecture.indices), strict=True)
        fixed = self.restrict({choice.name: [choice.options[i] for i in options] for choice, options in taken})
        if any(choice.subset for choice in self.choices):
            fixed._only = architecture.indices
        return fixed

    def vital(self) -> list[Choice]:
        """Return the choices on every path from the images to the logits (HourNAS section 3.1)."""
        return [self.choices[position] for position in vital(self.links())]

    @abstractmethod
    def links(self) -> list[Link]:
        """Return the network as a graph between feature maps: the parts that choices decide, and the fixed parts."""

    def specification(self) -> dict[str, Any]:
        """Return plain JSON from which `from_specification` rebuilds exactly this space in another process."""
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
        """Build one network with the weights of every surviving option. It runs one path at a time."""

    @abstractmethod
    def network(self, architecture: Architecture, num_classes: int | None = None) -> nn.Module:
        """Build the stand-alone network of an architecture.

        It maps images (N, 3, resolution, resolution) to logits (N, num_classes).
        """

    @abstractmethod
    def network_state(self, architecture: Architecture, supernet_state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the stand-alone network's state dict with a supernet's weights. No tensor is copied."""

    @abstractmethod
    def costs(
        self,
        resolution: int | None = None,
        num_classes: int | None = None,
        latency: LatencyTable | None = None,
        counting: CountingMode = "macs",
    ) -> Costs:
        """Return the multiply-adds, parameters and, with a table, latency of any architecture of this space.

        Args:
            counting: `macs` counts like `torch.utils.flop_counter` and `numel`, `paper` like the paper.

        Raises:
            UserError: if the images are too small for the strides, or the table lacks a surviving block.
        """

    def latency_blocks(self) -> Mapping[LatencyKey, TimedBlock]:
        """Return every block that a latency table of this space needs, ready to be built and measured.

        Raises:
            UserError: if the space does not define its blocks; a user's space need not.
        """
        raise UserError(
            f"{self.name} does not define the blocks of its latency table; add the method latency_blocks() to its "
            "class."
        )


def _possible(choice: Choice, surviving: Iterable[int]) -> str:
    options = ", ".join(choice.options[option] for option in surviving)
    return f"it can be any of {options}, joined by '+', or {NOTHING}." if choice.subset else f"it can be {options}."
