"""What a person wrote, checked against a pydantic model; its complaint as one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from search_spaces.errors import UserError, nearest

M = TypeVar("M", bound=BaseModel)


def validated(model: type[M], content: Any, where: str) -> M:
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
        message = first["msg"].removeprefix("Value error, ").rstrip(".")
        message = message[:1].lower() + message[1:]
        raise UserError(f"In {where}{f', {path} = ' + repr(first['input']) if path else ''}: {message}.") from None


def settings_of(model: type[M], asked: Mapping[str, Any], space: str) -> M:
    """The settings of a space, given by name.

    Raises:
        UserError: naming the first value that cannot be.
    """
    try:
        return model.model_validate(asked)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{space}: {where} cannot be {first['input']!r}: {first['msg']}.") from error


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
