"""Amounts of multiply-adds, parameters and milliseconds, as people write them."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, NonNegativeFloat, StringConstraints

_SUFFIXES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9}
_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+(?:_[0-9]+)*)(?:\.[0-9]*)?|\.[0-9]+"
_PATTERN = rf"^\s*(?:{_DIGITS})(?:[eE][+-]?[0-9]+)?\s*[kKmMgGbB]?\s*$"
_FORMS = "write a number, or a number with k, M (million) or G (billion), such as 50M or 50,000,000"
_UNITS = re.compile(r"[0-9.\s]([kmgt]?i?b(?:ytes?)?|[kmgt]?bits?|ms|s)\s*$", re.IGNORECASE)


def read_amount(value: Any) -> Any:
    """Return a text such as `50M` or `50,000,000` as a number, and any other value unchanged.

    The suffixes are `k`, `M`, `G` and `B`, of either case: there are no thousandths of a parameter, so that `50m` is 50
    million.

    Raises:
        ValueError: if the value is a text but no amount. The message says what to write.
    """
    if isinstance(value, bool):
        raise ValueError("it has to be a number, not true or false")
    if not isinstance(value, str) or value.strip().lower() in ("nan", "inf", "-inf"):
        return value  # pydantic refuses what is no finite number
    text = value.strip()
    if text.startswith("-"):
        raise ValueError("an amount cannot be negative")
    if not re.match(_PATTERN, text):
        raise ValueError(_describe_fault(text))
    suffix = text[-1].lower() if text[-1].isalpha() else ""
    return float(text[: len(text) - len(suffix)].replace(",", "")) * _SUFFIXES[suffix]


def _describe_fault(text: str) -> str:
    unit = _UNITS.search(text)
    if unit is not None and unit[1].lower() in ("ms", "s"):
        return "an amount has no unit: latency_ms counts milliseconds, such as 20"
    if unit is not None:
        number = text[: unit.start(1)].strip()
        letter = unit[1][0].upper()
        example = f"{number}{letter.replace('K', 'k')}" if letter in "KMG" else "50M"
        return f"a budget counts multiply-adds or parameters, not bytes: write {example}"
    if re.search(r"[0-9],[0-9]", text):
        return f"a comma separates thousands and a point begins the fraction: {_FORMS}"
    return f"it is no amount: {_FORMS}"


_Written = NonNegativeFloat | Annotated[str, StringConstraints(pattern=_PATTERN)]
Amount = Annotated[NonNegativeFloat, BeforeValidator(read_amount, json_schema_input_type=_Written)]
