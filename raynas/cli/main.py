"""The command `raynas`. Each command prints its result on stdout, and everything else on stderr.

Exit status: 0, done; 2, the user can correct the error; 1, raynas or the machine failed, and the run can continue.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from raynas.cli import fit, latency, predict, results, run, schema, spaces
from raynas.runtime.signals import stop_on_signal
from search_spaces.errors import UserError, one_line

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Find small, accurate image networks under a budget, on Ray.",
)
for group in (run, fit, spaces, results, predict, schema):
    app.add_typer(group.app)
app.add_typer(latency.app, name="latency")

_INTERRUPTED = 130
"""typer returns this status after a KeyboardInterrupt."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line; without `arguments`, the command line of the process.

    An error that the user can correct becomes a sentence on stderr for each problem, and exit status 2.
    """
    try:
        with stop_on_signal():
            status = app(arguments, prog_name="raynas", standalone_mode=False)
    except UserError as error:
        _fail(2, str(error))
    except Exception as error:
        if format_message := getattr(error, "format_message", None):  # typer cannot read the command line
            _fail(2, format_message().replace("Input should be", "it has to be"))
        from raynas.storage.errors import StepFailed
        from raynas.storage.run_folder import DamagedFile, WriteFailed

        if isinstance(error, StepFailed):
            _fail(1, f"{error} Run the same command again: it continues after the last finished step.")
        if isinstance(error, WriteFailed):
            _fail(1, f"{error} Finished steps are kept: correct the error, then run the same command again.")
        if isinstance(error, DamagedFile | ConnectionError):
            _fail(1, str(error))
        raise
    if status == _INTERRUPTED:
        _fail(1, "Stopped. Finished steps are kept: run the same command again to continue.")


def _fail(status: int, sentence: str) -> None:
    print("\n".join(map(one_line, sentence.splitlines())), file=sys.stderr)
    sys.exit(status)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        import raynas

        print(f"raynas {raynas.__version__}")
        raise typer.Exit
