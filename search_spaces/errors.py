"""The error that a user can correct."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class UserError(ValueError):
    """Says in one sentence what is wrong and what would be right. The commands print it and exit with status 2.

    The sentence stays on one line, whatever it quotes.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(" ".join(sentence.splitlines()))


def name_some(names: Sequence[str], most: int = 10) -> str:
    """Return the first names of a list, and how many there are more: `a, b and 3 more`."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence about an unknown `name`: the known name nearest to it, and all known names."""
    known = list(known)
    matches = get_close_matches(name, known, n=1)
    suggestion = f"the nearest is {matches[0]!r}, and " if matches else ""
    return f"{suggestion}there are {', '.join(known)}." if known else "there is none."
