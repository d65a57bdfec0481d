"""Sentences for people: counts with their nouns, one full stop, several problems at once."""

from __future__ import annotations

import ast
import pickle
import re
from pathlib import Path

import pytest

import raynas
import search_spaces
import tuners
from search_spaces.errors import Problems, UserError, format_count, one_line


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (1, "evaluator", "1 evaluator"),
        (2, "evaluator", "2 evaluators"),
        (0, "image", "0 images"),
        (1437, "training image", "1,437 training images"),
        (2, "class", "2 classes"),
        (3, "micro-batch", "3 micro-batches"),
        (3, "epoch", "3 epochs"),
        (1, "epoch", "1 epoch"),
        (2, "entry", "2 entries"),
        (2, "key", "2 keys"),
        (1.0, "minute", "1 minute"),
        (2.5, "minute", "2.5 minutes"),
    ],
)
def test_a_count_agrees_with_its_noun(number: float, noun: str, text: str) -> None:
    assert format_count(number, noun) == text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("It cannot be read: no such file.. Repair it.", "It cannot be read: no such file. Repair it."),
        ("It stopped: 'x'..", "It stopped: 'x'."),
        ("two\nlines", "two lines"),
        ("There is no image in ../a/..: give others.", "There is no image in ../a/..: give others."),
        ("Wait ...", "Wait ..."),
    ],
)
def test_a_sentence_has_one_line_and_one_full_stop(text: str, line: str) -> None:
    assert one_line(text) == line
    assert str(UserError(text)) == line


def test_problems_are_collected_and_raised_together() -> None:
    problems = Problems()
    problems.check()
    for sentence in ("One.", "Two.", "One."):
        with problems.collect():
            raise UserError(sentence)
    with pytest.raises(UserError) as error:
        problems.check()
    assert error.value.sentences == ("One.", "Two.")
    assert str(error.value) == "One.\nTwo."
    assert pickle.loads(pickle.dumps(error.value)).sentences == ("One.", "Two.")


_BARE_PLURAL = re.compile(
    r"^ (images|classes|evaluators|workers|epochs|cores|GPUs|processes|nodes|evaluations|generations|minutes|edges|"
    r"choices|networks|architectures|blocks|files|folders|stages|rows|trials|layers)\b"
)


def _is_many(value: ast.FormattedValue) -> bool:
    """Return whether a value is a constant, rounded such as `6.7e+17`, or in a branch without the number one."""
    spec, number = value.format_spec, ast.unparse(value.value)
    return number.isupper() or number == "number" or (spec is not None and "." in ast.dump(spec))


def test_no_text_sets_a_bare_number_before_a_plural() -> None:
    """`{count} evaluators` says `1 evaluators` for one: `format_count` agrees with the number."""
    bare = []
    for package in (raynas, search_spaces, tuners):
        for file in sorted(Path(str(package.__file__)).parent.rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    for value, text in zip(node.values, node.values[1:], strict=False):
                        is_plural = isinstance(text, ast.Constant) and _BARE_PLURAL.match(str(text.value))
                        if is_plural and isinstance(value, ast.FormattedValue) and not _is_many(value):
                            bare.append(f"{file.name}:{node.lineno}: {ast.unparse(node)[:90]}")
    assert bare == []
