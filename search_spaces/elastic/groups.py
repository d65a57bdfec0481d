"""What a space of several choices a block is made of: groups of blocks that share five choices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import NamedTuple, TypeVar

Item = TypeVar("Item")

VARIABLES = ("kernel", "activation", "attention", "expansion", "channels")
"""What is chosen for a group, in the order of its choices."""


class Variables(NamedTuple):
    """What a group's choices stand for.

    Attributes:
        kernel: of the depthwise convolution; 0 skips the block.
        activation: `relu` or `swish`.
        splits: of split attention; 1 is squeeze-and-excitation, 0 is none.
        expansion: hidden over output channels.
        channels: of the output.
    """

    kernel: int
    activation: str
    splits: int
    expansion: float
    channels: int


@dataclass(frozen=True)
class Group:
    """Blocks one behind the other, alike but for the first one's input channels and stride.

    Attributes:
        kernels, activations, splits, expansions, channels: the options of the five choices, as `Variables` has them.
        repeats: how many blocks.
        stride: of the first; the others have stride 1.
        expands: whether blocks have a 1x1 expand convolution; without one, hidden are the input's channels.
    """

    name: str
    kernels: tuple[int, ...]
    activations: tuple[str, ...]
    splits: tuple[int, ...]
    expansions: tuple[float, ...]
    channels: tuple[int, ...]
    repeats: int
    stride: int
    expands: bool

    @property
    def blocks(self) -> list[str]:
        """What its blocks are called: `row3-1`, `row3-2`."""
        return [f"{self.name}-{block + 1}" for block in range(self.repeats)]

    def take(self, indices: Sequence[int]) -> Variables:
        """What these five option indices stand for."""
        kernel, activation, splits, expansion, channels = indices
        return Variables(
            self.kernels[kernel],
            self.activations[activation],
            self.splits[splits],
            self.expansions[expansion],
            self.channels[channels],
        )

    def keep(self, surviving: Sequence[Sequence[int]]) -> Group:
        """The group with these options alone, five lists of indices."""
        kernels, activations, splits, expansions, channels = surviving
        return replace(
            self,
            kernels=tuple(self.kernels[i] for i in kernels),
            activations=tuple(self.activations[i] for i in activations),
            splits=tuple(self.splits[i] for i in splits),
            expansions=tuple(self.expansions[i] for i in expansions),
            channels=tuple(self.channels[i] for i in channels),
        )

    def hidden(self, in_channels: int, expansion: float, channels: int) -> int:
        """The channels that the depthwise convolution works on, the splits not counted."""
        return max(1, round(expansion * channels)) if self.expands else in_channels


def by_group(items: Sequence[Item]) -> list[Sequence[Item]]:
    """What there is one of a choice, in fives: one five a group."""
    return [items[start : start + len(VARIABLES)] for start in range(0, len(items), len(VARIABLES))]


def identities_last(groups: Sequence[Group], arriving: int, indices: Sequence[int]) -> list[int]:
    """The same network's option indices with identities behind the other groups, among equal ones next to each other.

    An identity is a skipped group of stride 1 that keeps its channels. Choices that mean nothing in a skipped group
    become the first options.

    Args:
        arriving: the channels that the first group is given.
        indices: five a group.
    """
    ordered: list[Sequence[int]] = []
    fives = zip(groups, by_group(indices), strict=True)
    for kind, row in groupby(fives, key=lambda pair: replace(pair[0], name="")):
        others: list[Sequence[int]] = []
        identities = 0
        for _, five in row:
            taken = kind.take(five)
            if taken.kernel == 0:
                five = (five[0], 0, 0, 0, five[-1])
            if taken.kernel == 0 and kind.stride == 1 and taken.channels == arriving:
                identities += 1
                identity = five
            else:
                others.append(five)
            arriving = taken.channels
        if identities:
            given = (others or [identity])[-1][-1]
            others += [(*identity[:-1], given)] * identities
        ordered += others
    return [index for five in ordered for index in five]
