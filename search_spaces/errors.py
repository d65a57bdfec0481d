"""The error that a user can correct; counts and names in sentences."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches


class UserError(ValueError):
    """Says what is wrong and what would be right. The commands print it and exit with status 2.

    Several problems have a sentence each. A sentence stays on one line, whatever it quotes.
    """

    def __init__(self, *sentences: str) -> None:
        self.sentences = tuple(map(one_line, sentences))
        super().__init__(*self.sentences)

    def __str__(self) -> str:
        return "\n".join(self.sentences)


def one_line(sentence: str) -> str:
    """Return a sentence on one line, without the second full stop that a quoted sentence brings."""
    return re.sub(r"(?<=[\w)\]'\"])\.\.(?=$|\s[A-Z])", ".", " ".join(sentence.splitlines()))


class Problems:
    """Collects the errors of several checks, so that a user reads all of them at once."""

    def __init__(self) -> None:
        self._sentences: list[str] = []

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Keep a UserError of the block, and go on behind the block."""
        try:
            yield
        except UserError as error:
            self._sentences += error.sentences

    def __bool__(self) -> bool:
        return bool(self._sentences)

    def check(self) -> None:
        """Raise one UserError with all sentences, if there are any."""
        if self._sentences:
            raise UserError(*dict.fromkeys(self._sentences))


def format_count(number: int | float, noun: str) -> str:
    """Return a number with its noun: `1 class`, `2 classes`, `1,437 images`, `2.5 minutes`."""
    digits = f"{number:,}" if isinstance(number, int) else f"{number:,g}"
    return f"{digits} {noun if number == 1 else pluralize(noun)}"


def pluralize(noun: str) -> str:
    """Return the plural of an English noun: `images`, `classes`, `batches`, `entries`, `epochs`."""
    if noun.endswith(("s", "x", "ch", "sh")) and not noun.endswith("epoch"):
        return f"{noun}es"
    return f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2] not in "aeiou" else f"{noun}s"


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
