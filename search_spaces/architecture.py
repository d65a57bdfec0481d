"""Choices and architectures: the values that every search space is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

NOTHING = "none"
"""How the text of an architecture writes a subset without any option."""


@dataclass(frozen=True)
class Choice:
    """One decision. `name` is `group.index` (`stage3.1`); the text form of an architecture writes a group at a time.

    It takes one of its options, by index; where `subset` holds any number of them, by the integer whose bit i says that
    option i is taken.
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
        """All that the choice can be, when these of its options survive."""
        return _subsets(tuple(surviving)) if self.subset else tuple(surviving)

    def taken(self, value: int) -> tuple[int, ...]:
        """The indices of the options that are taken."""
        return tuple(i for i in range(len(self.options)) if value >> i & 1) if self.subset else (value,)

    def allows(self, value: int, surviving: Sequence[int]) -> bool:
        return 0 <= value < 1 << len(self.options) and set(self.taken(value)) <= set(surviving)

    def write(self, value: int) -> str:
        """The value as a word: `k3e6`; of a subset, `sep_conv_3x3+skip_connect` or `none`."""
        return "+".join(self.options[option] for option in self.taken(value)) or NOTHING

    def read(self, word: str) -> int | None:
        """The value that `write` wrote; None if there is none."""
        names = [] if self.subset and word == NOTHING else word.split("+") if self.subset else [word]
        if len(set(names)) < len(names) or not set(names) <= set(self.options):
            return None
        return sum(1 << self.options.index(name) for name in names) if self.subset else self.options.index(word)


@dataclass(frozen=True)
class Architecture:
    """One value a choice. Equal and hashed by space and indices; `str()` gives the text that parses back."""

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
