"""Choices and architectures: the values that every search space consists of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

NOTHING = "none"
"""The word for a subset without any option, in the text of an architecture."""


@dataclass(frozen=True)
class Choice:
    """One decision. It takes one of its options, or, if `subset`, any number of them.

    The value of a choice is the index of its option. The value of a subset is an integer whose bit i says whether
    option i is taken. `name` is `group.index`, such as `stage3.1`. The text of an architecture lists the choices group
    by group.
    """

    name: str
    options: tuple[str, ...]
    subset: bool = False

    @property
    def group(self) -> str:
        return self.name.rpartition(".")[0]

    @property
    def key(self) -> str:
        """The name of the choice's module in a state dict, where a dot would separate two modules."""
        return self.name.replace(".", "-")

    def values(self, surviving: Sequence[int]) -> tuple[int, ...]:
        """Return all values of the choice, if only these of its options survive."""
        return _subsets(tuple(surviving)) if self.subset else tuple(surviving)

    def taken(self, value: int) -> tuple[int, ...]:
        """Return the indices of the options that a value takes."""
        return tuple(i for i in range(len(self.options)) if value >> i & 1) if self.subset else (value,)

    def allows(self, value: int, surviving: Sequence[int]) -> bool:
        """Return whether a value takes only options that survive."""
        return 0 <= value < 1 << len(self.options) and set(self.taken(value)) <= set(surviving)

    def write(self, value: int) -> str:
        """Return the value as a word: `k3e6`; for a subset, `sep_conv_3x3+skip_connect` or `none`."""
        return "+".join(self.options[option] for option in self.taken(value)) or NOTHING

    def read(self, word: str) -> int | None:
        """Return the value of a word from `write`; None if the word has none."""
        names = [] if self.subset and word == NOTHING else word.split("+") if self.subset else [word]
        if len(set(names)) < len(names) or not set(names) <= set(self.options):
            return None
        return sum(1 << self.options.index(name) for name in names) if self.subset else self.options.index(word)


@dataclass(frozen=True)
class Architecture:
    """One value for every choice. `str()` gives text that `SearchSpace.parse` reads.

    Architectures are equal if their spaces and indices are equal.
    """

    space: str
    indices: tuple[int, ...]
    text: str = field(compare=False)

    def __str__(self) -> str:
        return self.text


@cache
def _subsets(options: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(
        sum(1 << option for bit, option in enumerate(options) if number >> bit & 1)
        for number in range(1 << len(options))
    )
