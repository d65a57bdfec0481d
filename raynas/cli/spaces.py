"""The commands that describe spaces, methods and architectures: `raynas spaces`, `methods` and `describe`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from raynas.cli.options import Json, Resolution, SpaceSettings, TableName
from search_spaces.errors import UserError

app = typer.Typer()


@app.command()
def spaces(as_json: Json = False) -> None:
    """List the search spaces with their sizes and their ranges of costs, and the names of published architectures.

    For example: raynas spaces --json
    """
    from raynas.reporting.describe import print_spaces, space_rows
    from raynas.reporting.terminal import print_json

    rows = space_rows()
    if as_json:
        print_json(rows)
    else:
        print_spaces(rows)


@app.command()
def methods(as_json: Json = False) -> None:
    """List the methods, their spaces and their papers; with --json also their settings.

    For example: raynas methods --json
    """
    from raynas.reporting.terminal import print_json, print_table

    rows = _method_rows()
    if as_json:
        print_json(rows)
        return
    print_table(["method", "works on", "paper"], [[row["name"], row["spaces"], row["paper"]] for row in rows])


def _method_rows() -> list[dict[str, Any]]:
    from pydantic_core import to_jsonable_python

    from raynas.study import method

    rows = []
    for name in method.method_names():
        kind = method.method_class(name)
        settings = {
            key: None if field.is_required() else field.get_default(call_default_factory=True)
            for key, field in kind.model_fields.items()
        }
        row = {"name": name, "paper": kind.paper, "spaces": kind.spaces, "settings": to_jsonable_python(settings)}
        rows.append(row)
    return rows


@app.command()
def describe(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="SPACE-OR-ARCHITECTURE",
            help="The name of a space, or its file; the text of an architecture; or the name of a published one, "
            "such as hournas-a (`raynas spaces` lists all).",
        ),
    ],
    architecture: Annotated[str | None, typer.Option(help="The text of an architecture of the space.")] = None,
    resolution: Resolution = None,
    latency: Annotated[str | None, typer.Option(help="A latency table: a CSV or YAML file.")] = None,
    name: TableName = None,
    splits: Annotated[
        int | None,
        typer.Option(help="For an architecture of fbnetv2-f: the splits in every block with attention."),
    ] = None,
    settings: SpaceSettings = None,
    as_json: Json = False,
) -> None:
    """Show the choices of a space, or the blocks and the costs of an architecture.

    For example: raynas describe hournas-a
    """
    from raynas.reporting.describe import describe as find_description
    from raynas.reporting.describe import parse_settings
    from raynas.reporting.terminal import print_json
    from search_spaces import LatencyTable

    if name is not None and latency is None:
        raise UserError(f"--table {name} names a table of a file: also give the file, with --latency.")
    table = None if latency is None else LatencyTable.read(latency, name)
    description = find_description(subject, architecture, resolution, table, splits, parse_settings(settings or []))
    if as_json:
        print_json(description.json_value())
    else:
        description.print()
