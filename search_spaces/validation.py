"""What a person wrote: read as YAML, checked against a pydantic model; its complaint as one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails
from yaml.composer import ComposerError

from search_spaces.errors import UserError, nearest

M = TypeVar("M", bound=BaseModel)

Width = Annotated[float, Field(gt=0, le=10)]
"""What a space's channels are multiplied by."""
Number = Annotated[int, Field(ge=1, le=10_000)]
"""Of pixels, channels or layers: within this, with a `Width`, what a network costs fits into 64 bits."""
Classes = Annotated[int, Field(ge=1, le=1_000_000)]

_PLAIN = {
    "dict_type": "it has to be a mapping of keys to values",
    "model_type": "it has to be a mapping of keys to values",
    "tuple_type": "it has to be a list, such as [1, 2]",
    "path_type": "it has to be a path",
}
"""What pydantic says in Python's words, by the type of its complaint."""


class _Loader(yaml.SafeLoader):
    """Plain values alone, and no key twice, of which YAML would take the last."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise ComposerError(None, None, f"the key {key.value!r} is there twice", key.start_mark)
            seen.add(key.value)
        return node


def absolute(path: str | Path) -> Path:
    """The path as it is on this machine, `~` being a home.

    Raises:
        UserError: if no path can be so.
    """
    try:
        if "\0" in str(path):
            raise UserError(f"The path {str(path)!r} has a null character.")
        return Path(path).expanduser().absolute()
    except RuntimeError:
        raise UserError(f"The path {str(path)!r} begins with the home of nobody here.") from None


def read_yaml(text: str, what: str) -> Any:
    """The value of a YAML text, of which nothing is executed.

    Raises:
        UserError: if it is no YAML, or has values that are none, such as the 40th of a month.
    """
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, LookupError, AttributeError) as error:
        raise UserError(f"YAML cannot read {what}: {' '.join(str(error).split())}.") from error
    except RecursionError as error:
        raise UserError(f"YAML cannot read {what}: it is nested too deeply.") from error


def validate(model: type[M], content: Any, where: str) -> M:
    """`model.model_validate(content)`.

    Raises:
        UserError: naming the first unknown key, or else the first value that is wrong, and what would be right.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        wrong = error.errors()  # a key that is lacking may be there under a misspelt name
        first = next((one for one in wrong if one["type"] == "extra_forbidden"), wrong[0])
        path = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = _fields_at(model, first["loc"][:-1])
            raise UserError(
                f"{_sentence(where)} has no key {path!r}; {nearest(str(first['loc'][-1]), known)}"
            ) from None
        if first["type"] == "missing":
            raise UserError(f"{_sentence(where)} lacks {path!r}.") from None
        message = _message(first)
        message = message[:1].lower() + message[1:]
        raise UserError(f"In {where}{f', {path} = ' + repr(first['input']) if path else ''}: {message}.") from None


def validate_settings(model: type[M], asked: Mapping[str, Any], space: str) -> M:
    """The settings of a space, given by name.

    Raises:
        UserError: naming the first value that cannot be.
    """
    try:
        return model.model_validate(asked)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{space}: {where} cannot be {first['input']!r}: {_message(first)}.") from error


def _message(error: ErrorDetails) -> str:
    return _PLAIN.get(error["type"]) or error["msg"].removeprefix("Value error, ").rstrip(".")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _fields_at(model: type[BaseModel], path: Iterable[Any]) -> list[str]:
    for part in path:
        if isinstance(part, int):  # a place in the tuple whose model is already found
            continue
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field else None
        models = [one for one in (annotation, *get_args(annotation)) if isinstance(one, type)]
        found = next((one for one in models if issubclass(one, BaseModel)), None)
        if found is None:
            return []
        model = found
    return list(model.model_fields)
