"""The structure of an elastic space: groups of blocks that share five choices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import NamedTuple, TypeVar

Item = TypeVar("Item")

VARIABLES = ("kernel", "activation", "attention", "expansion", "channels")
"""The five choices of a group, in their order."""


class Variables(NamedTuple):
    """The values of a group's choices.

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
    """Consecutive blocks, equal except for the first block's input channels and stride.

    Attributes:
        kernels, activations, splits, expansions, channels: the options of the five choices, as in `Variables`.
        repeats: the number of blocks.
        stride: of the first block; the others have stride 1.
        expands: whether blocks have a 1x1 expand convolution. Without it, the hidden channels are the input's.
        separates_splits: whether every number of splits has weights of its own in a supernet. Otherwise blocks with and
            without squeeze-and-excitation share their weights.
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
    separates_splits: bool

    @property
    def blocks(self) -> list[str]:
        """The names of its blocks: `row3-1`, `row3-2`."""
        return [f"{self.name}-{block + 1}" for block in range(self.repeats)]

    def take(self, indices: Sequence[int]) -> Variables:
        """Return the values of five option indices."""
        kernel, activation, splits, expansion, channels = indices
        return Variables(
            self.kernels[kernel],
            self.activations[activation],
            self.splits[splits],
            self.expansions[expansion],
            self.channels[channels],
        )

    def keep(self, surviving: Sequence[Sequence[int]]) -> Group:
        """Return the group with only these options, five lists of indices."""
        kernels, activations, splits, expansions, channels = surviving
        return replace(
            self,
            kernels=tuple(self.kernels[i] for i in kernels),
            activations=tuple(self.activations[i] for i in activations),
            splits=tuple(self.splits[i] for i in splits),
            expansions=tuple(self.expansions[i] for i in expansions),
            channels=tuple(self.channels[i] for i in channels),
        )

    def weights_name(self, splits: int) -> str:
        """Return the name of the supernet's weights for a number of splits."""
        return f"splits{splits if self.separates_splits else max(splits, 1)}"

    def hidden(self, in_channels: int, expansion: float, channels: int) -> int:
        """Return the channels of the depthwise convolution, without the factor of the splits."""
        return max(1, round(expansion * channels)) if self.expands else in_channels


def by_group(items: Sequence[Item]) -> list[Sequence[Item]]:
    """Split a list with one item for each choice into fives, one for each group."""
    return [items[start : start + len(VARIABLES)] for start in range(0, len(items), len(VARIABLES))]


def move_identities_last(groups: Sequence[Group], arriving: int, indices: Sequence[int]) -> list[int]:
    """Return the same network's option indices with identities after the other groups of equal neighbours.

    An identity is a skipped group of stride 1 that keeps its channels. Choices without effect in a skipped group become
    the first options.

    Args:
        arriving: the first group's input channels.
        indices: five for each group.
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
            channels = (others or [identity])[-1][-1]
            others += [(*identity[:-1], channels)] * identities
        ordered += others
    return [index for five in ordered for index in five]
