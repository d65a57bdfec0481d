"""The command `raynas`. Each command prints its result on stdout, and everything else on stderr.

Exit status: 0 done; 2 the user can mend it; 1 a fault of ours or of the machine, after which the run can go on.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raynas.cli.latency import app as latency_app
from raynas.cli.results import app as results_app
from raynas.reporting.terminal import print_json, print_table
from raynas.runtime.signals import stop_on_signal
from search_spaces.errors import UserError

if TYPE_CHECKING:
    from raynas.results.outcome import Outcome
    from raynas.storage.progress import Reporter

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Find small, accurate image networks under a budget, on Ray.",
)
app.add_typer(results_app)
app.add_typer(latency_app, name="latency")

_INTERRUPTED = 130
"""What typer answers where a KeyboardInterrupt ended a command."""
Json = Annotated[bool, typer.Option("--json", help="Print one JSON value on stdout and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing while it runs.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Let Ray and Tune speak, too.")]
LogFormat = Annotated[str, typer.Option(help="How progress is told: text or json.")]
Out = Annotated[str | None, typer.Option("--out", help="The run folder: a path or a URI such as s3://bucket/run.")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Change the recipe, e.g. scale.evaluate.actors=4."),
]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, the process's own where none is given.

    What the user can mend becomes one sentence and exit status 2.
    """
    try:
        with stop_on_signal():
            ended = app(arguments, prog_name="raynas", standalone_mode=False)
    except UserError as error:
        _fail(2, str(error))
    except Exception as error:
        if told := getattr(error, "format_message", None):  # typer raises it for a command line that it cannot read
            _fail(2, told())
        from raynas.storage.errors import StepFailed
        from raynas.storage.run_folder import DamagedFile, WriteFailed

        if isinstance(error, StepFailed):
            _fail(1, f"{error} The same command goes on from what is finished.")
        if isinstance(error, WriteFailed):
            _fail(1, f"{error} Nothing finished is lost: mend that, and the same command goes on.")
        if isinstance(error, DamagedFile | ConnectionError):
            _fail(1, str(error))
        raise
    if ended == _INTERRUPTED:
        _fail(1, "Stopped. The same command goes on with what is finished.")


def _fail(status: int, sentence: str) -> None:
    print(sentence, file=sys.stderr)
    sys.exit(status)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        import raynas

        print(f"raynas {raynas.__version__}")
        raise typer.Exit


@app.command()
def demo(
    out: Out = None,
    changes: Changes = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    log_format: LogFormat = "text",
) -> None:
    """Run PAD-NAS on scikit-learn's digits and train what it found alone, in a few minutes.

    For example: raynas demo
    """
    from raynas.networks.fit import fit_run

    reporter = _reporter(quiet or as_json, log_format)
    outcome = _carried_out("pad-nas-digits", out or "runs/demo", changes, reporter, verbose)
    (fitted,) = fit_run(outcome.run, [], [], reporter, verbose)
    if as_json:
        print_json({**outcome.json_value(), "fitted": fitted})
        return
    _print_front(outcome, reporter)
    _print_fitted(fitted)
    print(outcome.run)


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help="A YAML file, or the name of a recipe that ships with raynas.")],
    out: Out = None,
    changes: Changes = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    log_format: LogFormat = "text",
) -> None:
    """Carry out a recipe, or go on with it where its run folder holds an unfinished run.

    For example: raynas run pad-nas-digits --set seed=1 --out runs/seed-1
    """
    reporter = _reporter(quiet or as_json, log_format)
    outcome = _carried_out(recipe, out, changes, reporter, verbose)
    if as_json:
        print_json(outcome.json_value())
        return
    _print_front(outcome, reporter)
    print(outcome.run)


def _carried_out(recipe: str, out: str | None, changes: list[str] | None, reporter: Reporter, verbose: bool) -> Outcome:
    import raynas
    from raynas.recipe.recipe import Recipe

    return raynas.run(Recipe.read(recipe, changes or []), out, reporter=reporter, verbose=verbose)


def _print_front(outcome: Outcome, reporter: Reporter) -> None:
    front = outcome.front
    costs = {"macs": "M multiply-adds", "params": "M parameters", "latency_ms": "ms"}
    shown = [key for key in costs if front[key].notna().any()]
    scale = {"macs": 1e-6, "params": 1e-6, "latency_ms": 1.0}
    rows = [
        [f"{row['top1']:.2f}", *(f"{row[key] * scale[key]:.3f}" for key in shown), row["architecture"]]
        for row in front.to_dict("records")
    ]
    accuracy = "test top-1 %" if outcome.is_tested else "one-shot top-1 %"
    reporter.table("Pareto front", [accuracy, *(costs[key] for key in shown), "architecture"], rows)


@app.command()
def spaces(as_json: Json = False) -> None:
    """List the search spaces with their sizes and cost ranges.

    For example: raynas spaces --json
    """
    from raynas.reporting.describe import print_spaces, space_rows

    rows = space_rows()
    if as_json:
        print_json(rows)
    else:
        print_spaces(rows)


@app.command()
def methods(as_json: Json = False) -> None:
    """List the methods, the spaces that they work on and their papers; with --json their settings, too.

    For example: raynas methods --json
    """
    from pydantic_core import to_jsonable_python

    from raynas.study import method

    rows: list[dict[str, Any]] = []
    for name in method.names():
        kind = method.kind(name)
        settings = {
            key: None if field.is_required() else field.get_default(call_default_factory=True)
            for key, field in kind.model_fields.items()
        }
        described = {"name": name, "paper": kind.paper, "spaces": kind.spaces, "settings": to_jsonable_python(settings)}
        rows.append(described)
    if as_json:
        print_json(rows)
        return
    print_table(["method", "works on", "paper"], [[row["name"], row["spaces"], row["paper"]] for row in rows])


@app.command()
def describe(
    what: Annotated[
        str,
        typer.Argument(
            help="A space, by its name or in a file of your own; the text of an architecture; or the name of a "
            "published one, such as hournas-a."
        ),
    ],
    architecture: Annotated[str | None, typer.Option(help="An architecture of the space, by its text.")] = None,
    resolution: Annotated[int | None, typer.Option(min=1, help="Height and width of the images in pixels.")] = None,
    latency: Annotated[str | None, typer.Option(help="A latency table: a CSV or YAML file.")] = None,
    name: Annotated[str | None, typer.Option("--table", help="Which table, where the file holds several.")] = None,
    splits: Annotated[
        int | None, typer.Option(help="Of an architecture of fbnetv2-f: with so many splits wherever it has attention.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the space, e.g. cells=20.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what a space holds, or what an architecture is made of and costs.

    For example: raynas describe hournas-a
    """
    from raynas.reporting.describe import described, settings_of
    from search_spaces import LatencyTable

    if name is not None and latency is None:
        raise UserError(f"--table {name} says which table of a file is meant: give the file, too, by --latency.")
    measured = None if latency is None else LatencyTable.read(latency, name)
    description = described(what, architecture, resolution, measured, splits, settings_of(settings or []))
    if as_json:
        print_json(description.json_value())
    else:
        description.print()


@app.command()
def fit(
    what: Annotated[str, typer.Argument(help="A run folder (its best architecture), or the text of an architecture.")],
    architecture: Annotated[
        list[str] | None,
        typer.Option(help="Another architecture of the run than its best; may be given several times."),
    ] = None,
    best: Annotated[int, typer.Option(min=1, help="So many of the run's best networks.")] = 1,
    recipe: Annotated[
        str | None, typer.Option(help="Of a text: the recipe whose images and `fit` it is trained with.")
    ] = None,
    out: Out = None,
    changes: Changes = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    log_format: LogFormat = "text",
) -> None:
    """Train networks alone, and measure them on the test images.

    For example: raynas fit runs/demo --best 3 --set epochs=30
    """
    from raynas.networks.fit import fit_architecture, fit_run
    from raynas.results.outcome import load

    reporter = _reporter(quiet or as_json, log_format)
    if ": " in what:
        if architecture or best > 1:
            raise UserError("--architecture and --best are for the networks of a run's folder.")
        fitted = [fit_architecture(what, out, changes or [], reporter, verbose, recipe)]
        correlations = None
    elif recipe is not None:
        raise UserError("--recipe is for the text of an architecture; a run has its own.")
    else:
        fitted = fit_run(what, architecture or [], changes or [], reporter, verbose, best)
        correlations = load(what).correlations
    if as_json:
        print_json(fitted[0] if len(fitted) == 1 else {"networks": fitted, "correlations": correlations})
        return
    for one in fitted:
        _print_fitted(one)
        print(f"{one['run']}/{one['weights']}")
    if correlations is not None:
        print(
            f"one-shot against stand-alone accuracy of {correlations['networks']} networks: "
            f"Kendall's tau {correlations['kendall_tau']:.3f}, Spearman's rho {correlations['spearman_rho']:.3f}, "
            f"Pearson's r {correlations['pearson_r']:.3f}"
        )


@app.command()
def auto(
    folder: Annotated[
        str, typer.Argument(help="A folder with train/ and test/ (or val/), each with a folder a class.")
    ],
    max_macs: Annotated[str | None, typer.Option(help="At most so many multiply-adds an image: 50M.")] = None,
    max_params: Annotated[str | None, typer.Option(help="At most so many parameters: 500k.")] = None,
    max_latency_ms: Annotated[str | None, typer.Option(help="At most so many milliseconds on this machine.")] = None,
    minutes: Annotated[float, typer.Option(min=1, max=100_000, help="About how long it may take.")] = 30,
    out: Out = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    log_format: LogFormat = "text",
) -> None:
    """From a folder of images to an exported network: choose, search, train, export, report.

    For example: raynas auto flowers --max-macs 50M --minutes 60
    """
    from raynas.auto.pipeline import auto as carry_out

    limits = {"macs": max_macs, "params": max_params, "latency_ms": max_latency_ms}
    told = carry_out(folder, limits, minutes, out, _reporter(quiet or as_json, log_format), verbose)
    if as_json:
        print_json(told)
        return
    print("\n".join(told["why"]))
    print(told["run"])


def _print_fitted(fitted: dict[str, Any]) -> None:
    print(fitted["architecture"])
    print(
        f"trained alone: test top-1 {fitted['top1']:.2f} %, {fitted['macs'] / 1e6:.3f} M multiply-adds, "
        f"{fitted['params'] / 1e6:.3f} M parameters"
    )


@app.command()
def schema() -> None:
    """Print the JSON Schema of a recipe, with which editors complete and check YAML.

    For example: raynas schema > recipe.schema.json
    """
    from raynas.cli.schema import recipe_schema

    print_json(recipe_schema())


def _reporter(quiet: bool, log_format: str) -> Reporter:
    from raynas.storage.progress import reporter

    if log_format not in ("text", "json"):
        raise UserError(f"--log-format is text or json, not {log_format!r}.")
    return reporter("json" if log_format == "json" else "quiet" if quiet else "live")
