"""How commands print their result on stdout: one JSON value, or a table."""

from __future__ import annotations

import json
from typing import Any


def print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False))


def print_table(columns: list[str], rows: list[list[str]]) -> None:
    from raynas.storage.progress import plain_table, wide_console  # rich, which other commands need not load

    wide_console().print(plain_table(columns, rows))
