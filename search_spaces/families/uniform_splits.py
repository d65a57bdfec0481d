"""The uniform split attention of FP-NAS table 7, derived from searched architectures."""

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
    """Return the same network with this number of splits in each block with attention (FP-NAS table 7).

    Returns:
        The space `fbnetv2-f++` with the settings of `space`, and the architecture in it.

    Raises:
        UserError: if the space is not one whose attention FP-NAS splits, or the number of splits does not exist.
    """
    if space.name not in _FROM:
        raise UserError(
            f"Only architectures of {' and '.join(_FROM)}, where each row chooses its attention, can have uniform "
            f"splits; {space.name} is another space."
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
