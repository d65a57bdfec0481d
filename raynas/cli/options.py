"""The options and arguments that several commands share. Each stands here once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from search_spaces.errors import UserError

if TYPE_CHECKING:
    from raynas.storage.progress import Reporter

Json = Annotated[bool, typer.Option("--json", help="Print one JSON value on stdout and nothing else.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Also print the messages of Ray and Ray Tune.")]
LogFormat = Annotated[str, typer.Option(help="The format of the progress on stderr: text or json.")]

Run = Annotated[str, typer.Argument(help="The run folder: a path or a URI.")]
FinishedRuns = Annotated[list[str], typer.Argument(help="The folders of finished runs.")]
Out = Annotated[str | None, typer.Option("--out", help="The run folder: a path or a URI such as s3://bucket/run.")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Change a key of the recipe, e.g. scale.evaluate.actors=4."),
]

Resolution = Annotated[int | None, typer.Option(min=1, help="Height and width of the images in pixels.")]
SpaceSettings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the space, e.g. width=0.5.")
]
TableName = Annotated[
    str | None, typer.Option("--table", help="The name of the latency table, if its file holds several.")
]

MaxMacs = Annotated[
    str | None,
    typer.Option(help="The most multiply-adds for one image, e.g. 50M: 50 million, as are 50m and 50,000,000."),
]
MaxParams = Annotated[str | None, typer.Option(help="The most parameters, e.g. 500k or 1M.")]
MaxLatencyMs = Annotated[str | None, typer.Option(help="The most milliseconds for one image, e.g. 20.")]


def open_reporter(quiet: bool, log_format: str = "text") -> Reporter:
    """Return the reporter that prints the progress of a command on stderr.

    Raises:
        UserError: if the format is neither `text` nor `json`.
    """
    from raynas.reporting.terminal import Live
    from raynas.storage.progress import JsonLines, Quiet

    if log_format not in ("text", "json"):
        raise UserError(f"--log-format is text or json, not {log_format!r}.")
    if log_format == "json":
        return JsonLines()
    return Quiet() if quiet else Live()
