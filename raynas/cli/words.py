"""The keys of a recipe in the words of a command: its options, or the file in which the key stands.

Errors name keys. Who types options reads the option instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, get_args

from search_spaces.errors import UserError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from raynas.storage.progress import Reporter

LIMITS = {
    f"budget.{cost}{end}": f"--max-{cost.replace('_', '-')}"
    for cost in ("macs", "params", "latency_ms")
    for end in ("", ".max", ".min")
}
"""The options that limit costs, by the keys of a budget."""
AUTO = {"data.path": "FOLDER", "data.test": "--test", **LIMITS}

_KEY = re.compile(r"(?<![\w./\\-])([a-z]+(?:\.[a-z_]+)+)(?![\w/\\])(?!\.\w)(=[\w.+-]*\w)?")
"""A key, with the value that a sentence sets it to: `training.on_divergence=lower-lr`. Names of files are no keys."""


def model_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the keys of a model and of its parts, with points between: `scale.train.workers`."""
    from pydantic import BaseModel

    for name, field in model.model_fields.items():
        yield f"{prefix}{name}"
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel) and "root" not in part.model_fields:
                yield from model_keys(part, f"{prefix}{name}.")


@lru_cache(maxsize=1)
def recipe_keys() -> frozenset[str]:
    """Return all keys that a recipe has with every method, space and budget."""
    from raynas.recipe.recipe import Recipe

    return frozenset(model_keys(Recipe))


class CommandWords:
    """Says keys as a command's options.

    Args:
        options: the option for a key, or for all keys of a group. `{key}` in it is the key, and `{part}` the key
            without its group: `epochs` of `fit.epochs`.
        beside: what stands in brackets behind the first mention of another key of a recipe, such as the recipe's file.
    """

    def __init__(self, options: Mapping[str, str], beside: str = "") -> None:
        self._options, self._beside = options, beside

    def say(self, sentence: str) -> str:
        """Return the sentence with options instead of keys."""
        said: set[str] = set()

        def word(match: re.Match[str]) -> str:
            key, value = match[1], match[2] or ""
            if key in self._options:
                return f"{self._options[key]}{value}"
            group, _, part = key.partition(".")
            if key not in recipe_keys():
                return match[0]
            if group in self._options:
                return f"{self._options[group].format(key=key, part=part)}{value}"
            if not self._beside or key in said:
                return match[0]
            said.add(key)
            return f"{match[0]} ({self._beside.format(key=key, part=part)})"

        return _KEY.sub(word, sentence)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raise errors of the block in these words."""
        from raynas.storage.errors import StepFailed

        try:
            yield
        except UserError as error:
            raise UserError(*map(self.say, error.sentences)) from error
        except StepFailed as error:
            raise StepFailed(self.say(str(error))) from error


class WordedReporter:
    """Another reporter, whose lines say the keys of a recipe in the words of a command."""

    def __init__(self, reporter: Reporter, words: CommandWords) -> None:
        self._reporter, self._words = reporter, words

    def begin(self, step: str, description: str) -> None:
        self._reporter.begin(step, description)

    def update(self, done: int, total: int, detail: str = "") -> None:
        self._reporter.update(done, total, detail)

    def end(self, step: str, seconds: float) -> None:
        self._reporter.end(step, seconds)

    def say(self, text: str) -> None:
        self._reporter.say(self._words.say(text))

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None:
        self._reporter.table(title, columns, rows)


FIT = CommandWords({"fit": "--set {part}"})
"""The words of `raynas fit` for a run: its option changes the keys of `fit`."""
_GROUPS = ("data", "evaluation", "scale", "space")
FIT_TEXT = CommandWords({**dict.fromkeys(_GROUPS, "--set {key}"), "fit": "--set {part}"})
"""The words of `raynas fit` for the text of an architecture: its option changes all keys of a recipe that it reads."""
TRAINED = CommandWords({}, beside="--set {part} of raynas fit")
"""The words of commands that read a trained network: only its training can be mended."""
