"""Architectures that a paper derives from others: FP-NAS table 7's uniform split attention."""

from __future__ import annotations

from search_spaces.architecture import Architecture
from search_spaces.errors import UserError
from search_spaces.families.fbnetv2 import fbnetv2_f_plus
from search_spaces.space import SearchSpace

SPLITS = (1, 2, 4)
_FROM, _TO = ("fbnetv2-f", "fbnetv2-f++"), "fbnetv2-f++"
_NONE = ("se0", "s0")


def with_uniform_splits(
    space: SearchSpace, architecture: Architecture, splits: int
) -> tuple[SearchSpace, Architecture]:
    """The same network with split attention of so many splits wherever it has attention (FP-NAS table 7).

    Returns:
        The space `fbnetv2-f++` in the given one's settings, and the architecture in it.

    Raises:
        UserError: if the space is not one of those whose attention FP-NAS splits, or there are no such splits.
    """
    if space.name not in _FROM:
        raise UserError(
            f"Uniform splits are derived of architectures of {' and '.join(_FROM)}, whose attention each row chooses, "
            f"not of {space.name}."
        )
    if splits not in SPLITS:
        raise UserError(f"{_TO} has attention of {', '.join(map(str, SPLITS))} splits, not of {splits}.")
    target = fbnetv2_f_plus(**space.settings)
    words = []
    for choice, index in zip(space.choices, architecture.indices, strict=True):
        word = choice.write(index)
        attention = choice.name.endswith(".attention")
        words.append(f"s{0 if word in _NONE else splits}" if attention else word)
    return target, target.parse(f"{_TO}: {' '.join(words)}")
