"""The one exception for what a user can mend."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """One sentence that says what is wrong and what would be right; the commands print it and exit with status 2.

    It stays on one line, whatever it quotes.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(" ".join(sentence.splitlines()))


def nearest(name: str, known: Iterable[str]) -> str:
    """How a sentence about an unknown `name` ends: the known name that is most like it, and all of them."""
    known = list(known)
    matches = get_close_matches(name, known, n=1)
    meant = f"the nearest is {matches[0]!r}, and " if matches else ""
    return f"{meant}there are {', '.join(known)}." if known else "there is none."
