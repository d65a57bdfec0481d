"""The commands that carry out a whole search: `raynas demo`, `raynas run` and `raynas auto`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from raynas.cli.fit import print_standalone
from raynas.cli.options import (
    Changes,
    Json,
    LogFormat,
    MaxLatencyMs,
    MaxMacs,
    MaxParams,
    Out,
    Quiet,
    Verbose,
    open_reporter,
)
from raynas.cli.words import AUTO, CommandWords, WordedReporter

if TYPE_CHECKING:
    from raynas.results.outcome import Outcome
    from raynas.storage.progress import Reporter

app = typer.Typer()


@app.command()
def demo(
    out: Out = None,
    changes: Changes = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    log_format: LogFormat = "text",
) -> None:
    """Run PAD-NAS on scikit-learn's digits and train the best network stand-alone, in a few minutes.

    For example: raynas demo
    """
    from raynas.networks.fit import run_and_fit
    from raynas.recipe.recipe import Recipe
    from raynas.reporting.terminal import print_json

    reporter = open_reporter(quiet or as_json, log_format)
    recipe = Recipe.read("pad-nas-digits", changes or [])
    outcome, network = run_and_fit(recipe, out or "runs/demo", reporter, verbose)
    if as_json:
        print_json({**outcome.json_value(), "standalone": network})
        return
    _print_front(outcome, reporter)
    print_standalone(network)
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
    """Carry out a recipe, or continue its unfinished run in the run folder.

    For example: raynas run pad-nas-digits --set seed=1 --out runs/seed-1
    """
    from raynas.reporting.terminal import print_json

    reporter = open_reporter(quiet or as_json, log_format)
    outcome = _run_recipe(recipe, out, changes, reporter, verbose)
    if as_json:
        print_json(outcome.json_value())
        return
    _print_front(outcome, reporter)
    print(outcome.run)


@app.command()
def auto(
    folder: Annotated[
        str, typer.Argument(help="A folder of images, one folder for each class; or a .zip, .tar or .csv of images.")
    ],
    max_macs: MaxMacs = None,
    max_params: MaxParams = None,
    max_latency_ms: MaxLatencyMs = None,
    minutes: Annotated[float, typer.Option(min=1, max=100_000, help="The approximate time of the command.")] = 30,
    test: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="The share of each class to test on, if there are no test images.")
    ] = 0.2,
    out: Out = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    log_format: LogFormat = "text",
) -> None:
    """Turn a folder of images into an exported network: write a recipe, search, train, export, report.

    For example: raynas auto flowers --max-macs 50M --minutes 60
    """
    from raynas.auto.pipeline import run_auto, run_folder
    from raynas.reporting.terminal import print_json

    run = run_folder(folder, out)
    words = CommandWords(AUTO, beside=f"in {run}.yaml")
    limits = {"macs": max_macs, "params": max_params, "latency_ms": max_latency_ms}
    reporter = WordedReporter(open_reporter(quiet or as_json, log_format), words)
    with words.errors():
        result = run_auto(folder, limits, minutes, run, reporter, verbose, test)
    if as_json:
        print_json(result)
        return
    print("\n".join(words.say(line) for line in result["result"]))
    print(result["run"])


def _run_recipe(recipe: str, out: str | None, changes: list[str] | None, reporter: Reporter, verbose: bool) -> Outcome:
    import raynas
    from raynas.recipe.recipe import Recipe

    return raynas.run(Recipe.read(recipe, changes or []), out, reporter=reporter, verbose=verbose)


def _print_front(outcome: Outcome, reporter: Reporter) -> None:
    from raynas.reporting.units import COST_UNITS

    front = outcome.front
    units = {key: unit for key, unit in COST_UNITS.items() if front[key].notna().any()}
    rows = [
        [f"{row['top1']:.2f}", *(f"{row[key] * unit.scale:.3f}" for key, unit in units.items()), row["architecture"]]
        for row in front.to_dict("records")
    ]
    accuracy = "test top-1 %" if outcome.is_tested else "one-shot top-1 %"
    columns = [accuracy, *(unit.name for unit in units.values()), "architecture"]
    reporter.table("Pareto front", columns, rows)
