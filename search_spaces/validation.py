"""Users' input: read as YAML and checked against a pydantic model. Errors become one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails
from yaml.composer import ComposerError

from search_spaces.errors import UserError, format_count, nearest

M = TypeVar("M", bound=BaseModel)

Width = Annotated[float, Field(gt=0, le=10)]
"""The factor of a space's channels."""
Number = Annotated[int, Field(ge=1, le=10_000)]
"""A number of pixels, channels or layers. Within this limit and `Width`'s, the costs of a network fit into 64 bits."""
Classes = Annotated[int, Field(ge=1, le=1_000_000)]

_MOST_SENTENCES = 10
"""The most problems of one text that are named."""
_PLAIN = {
    "dict_type": "it has to be a mapping of keys to values",
    "model_type": "it has to be a mapping of keys to values",
    "tuple_type": "it has to be a list, such as [1, 2]",
    "path_type": "it has to be a path",
    "float_type": "it has to be a number",
    "float_parsing": "it has to be a number",
    "int_type": "it has to be a whole number",
    "int_parsing": "it has to be a whole number",
    "int_from_float": "it has to be a whole number",
    "bool_type": "it has to be true or false",
    "bool_parsing": "it has to be true or false",
    "string_type": "it has to be a text",
}
"""Plain words instead of pydantic's, by pydantic's type of error."""
_PLAIN_WORDS = {
    "Input should be": "it has to be",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
}


class _Loader(yaml.SafeLoader):
    """Loads plain values only, and refuses a key that stands twice: YAML would take the last."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise ComposerError(None, None, f"the key {key.value!r} is there twice", key.start_mark)
            seen.add(key.value)
        return node


def absolute(path: str | Path) -> Path:
    """Return the absolute path on this machine, with `~` as a home folder.

    Raises:
        UserError: if the path has a null character, or names a home that does not exist.
    """
    try:
        if "\0" in str(path):
            raise UserError(f"The path {str(path)!r} has a null character; remove it.")
        return Path(path).expanduser().absolute()
    except RuntimeError:
        raise UserError(
            f"The path {str(path)!r} begins with a home folder that this machine does not have; give another path."
        ) from None


def read_yaml(text: str, source: str) -> Any:
    """Return the value of a YAML text. Nothing in the text is executed.

    Args:
        source: how error messages call the text.

    Raises:
        UserError: if the text is not YAML, or has an impossible value, such as the 40th of a month.
    """
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, LookupError, AttributeError) as error:
        raise UserError(f"YAML cannot read {source}: {' '.join(str(error).split())}.") from error
    except RecursionError as error:
        raise UserError(f"YAML cannot read {source}: it is nested too deeply.") from error


def validate(model: type[M], content: Any, where: str) -> M:
    """Return `model.model_validate(content)`.

    Args:
        where: how error messages call the content.

    Raises:
        UserError: if keys are unknown or missing, or values are wrong. It has a sentence for each, unknown keys first.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise UserError(*_describe(model, content, where, error.errors())) from None


def _describe(model: type[BaseModel], content: Any, where: str, errors: Sequence[ErrorDetails]) -> list[str]:
    """Return a sentence for each error; for the alternatives of one value, only the first alternative's."""
    unknown = {entry["loc"][:-1] for entry in errors if entry["type"] == "extra_forbidden"}
    sentences: dict[tuple[int | str, ...], str] = {}
    for entry in sorted(errors, key=lambda entry: entry["type"] != "extra_forbidden"):
        place = entry["loc"]
        if entry["type"] == "missing" and place[:-1] in unknown:  # the unknown key may be its misspelt name
            continue
        keys = _keys_of(content, place)
        if any(keys[: len(other)] == other[: len(keys)] for other in sentences):
            continue  # another alternative of this value, or a fault that follows from the fault of a part
        path = ".".join(map(str, keys))
        if entry["type"] == "extra_forbidden":
            ending = nearest(str(place[-1]), _fields_at(model, place[:-1]))
            sentences[keys] = f"{_sentence(where)} has no key {path!r}; {ending}"
        elif entry["type"] == "missing":
            sentences[keys] = f"{_sentence(where)} lacks {path!r}."
        else:
            message = describe_fault(entry)
            value = f", {path} = {entry['input']!r}" if path else ""
            sentences[keys] = f"In {where}{value}: {message[:1].lower()}{message[1:]}."
    shown = list(sentences.values())
    more = len(shown) - _MOST_SENTENCES
    return shown if more <= 0 else [*shown[:_MOST_SENTENCES], f"There {_are(more)} in {where}."]


def _are(more: int) -> str:
    return f"{'is' if more == 1 else 'are'} {format_count(more, 'more problem')}"


def _keys_of(content: Any, place: Sequence[int | str]) -> tuple[int | str, ...]:
    """Return the place of an error without pydantic's names of alternatives, which are no keys of the content."""
    keys: list[int | str] = []
    for part in place:
        if isinstance(content, Mapping):
            content = content.get(part)
        elif isinstance(content, list | tuple) and isinstance(part, int):
            content = content[part] if part < len(content) else None
        elif content is not None:
            continue
        keys.append(part)
    return tuple(keys)


def validate_settings(model: type[M], values: Mapping[str, Any], space: str) -> M:
    """Return the settings of a space, checked against their model.

    Raises:
        UserError: if values are wrong. It has a sentence for each.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        sentences = {
            _keys_of(values, entry["loc"]): f"cannot be {entry['input']!r}: {describe_fault(entry)}."
            for entry in reversed(error.errors())
        }
        ordered = reversed(sentences.items())
        raise UserError(*(f"{space}: {'.'.join(map(str, keys))} {text}" for keys, text in ordered)) from error


def describe_fault(error: ErrorDetails) -> str:
    """Return what is wrong with a value, without a full stop."""
    message = _PLAIN.get(error["type"]) or error["msg"].removeprefix("Value error, ").rstrip(".")
    if error["type"] == "too_short":
        message = f"it needs at least {format_count(error['ctx']['min_length'], 'entry')}"
    for words, plain in _PLAIN_WORDS.items():
        message = message.replace(words, plain, 1)
    return message


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _fields_at(model: type[BaseModel], path: Iterable[Any]) -> list[str]:
    for part in path:
        if isinstance(part, int):  # an index into the tuple whose model is known already
            continue
        field = model.model_fields.get(str(part)) or model.model_fields.get("root")
        annotation = field.annotation if field else None
        types = [kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type)]
        inner = next((kind for kind in types if issubclass(kind, BaseModel)), None)
        if inner is None:
            return []
        model = inner
    return list(model.model_fields)
