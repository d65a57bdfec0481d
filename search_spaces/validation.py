"""Users' input: read as YAML and checked against a pydantic model. Errors become one sentence."""

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
"""The factor of a space's channels."""
Number = Annotated[int, Field(ge=1, le=10_000)]
"""A number of pixels, channels or layers. Within this limit and `Width`'s, the costs of a network fit into 64 bits."""
Classes = Annotated[int, Field(ge=1, le=1_000_000)]

_PLAIN = {
    "dict_type": "it has to be a mapping of keys to values",
    "model_type": "it has to be a mapping of keys to values",
    "tuple_type": "it has to be a list, such as [1, 2]",
    "path_type": "it has to be a path",
}
"""Plain words instead of pydantic's, by pydantic's type of error."""


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
        UserError: if a key is unknown or missing, or a value is wrong. It names the first unknown key, else the first
            wrong value.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        errors = error.errors()
        # An unknown key comes first: it may be the misspelt name of a missing key.
        first = next((entry for entry in errors if entry["type"] == "extra_forbidden"), errors[0])
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


def validate_settings(model: type[M], values: Mapping[str, Any], space: str) -> M:
    """Return the settings of a space, checked against their model.

    Raises:
        UserError: if a value is wrong. It names the first such value.
    """
    try:
        return model.model_validate(values)
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
        if isinstance(part, int):  # an index into the tuple whose model is known already
            continue
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field else None
        types = [kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type)]
        inner = next((kind for kind in types if issubclass(kind, BaseModel)), None)
        if inner is None:
            return []
        model = inner
    return list(model.model_fields)
