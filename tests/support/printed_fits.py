"""The commands `raynas fit TEXT` that recipes and pages print."""

from __future__ import annotations

import re
import shlex
from importlib import resources
from itertools import pairwise
from typing import NamedTuple


class PrintedFit(NamedTuple):
    """A command `raynas fit TEXT` of a comment or a page.

    Attributes:
        recipe: the recipe that it names; None if it names none.
        changes: with the paths of the recipe.
    """

    recipe: str | None
    changes: list[str]


def shipped_text(name: str) -> str:
    return (resources.files("raynas.recipe") / "shipped" / f"{name}.yaml").read_text()


def printed_fits(text: str) -> list[PrintedFit]:
    """Return the commands of a text that train the text of an architecture."""
    fits = []
    for command in re.findall(r"raynas fit (\"[^\n\\]*(?:\\\n[^\n\\]*)*)", text):
        words = shlex.split(command.replace("\\\n#", " ").replace("\\\n", " "))
        changes = [word for before, word in pairwise(words) if before == "--set"]
        named = [word for before, word in pairwise(words) if before == "--recipe"]
        paths = [change if "." in change.partition("=")[0] else f"fit.{change}" for change in changes]
        fits.append(PrintedFit(named[0] if named else None, paths))
    return fits
