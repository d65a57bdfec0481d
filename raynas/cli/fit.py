"""The command `raynas fit`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from raynas.cli.options import Json, LogFormat, Out, Quiet, Verbose, open_reporter
from raynas.cli.words import FIT, FIT_TEXT, WordedReporter
from search_spaces.errors import UserError, format_count

app = typer.Typer()


@app.command()
def fit(
    source: Annotated[
        str, typer.Argument(metavar="RUN-OR-ARCHITECTURE", help="A run folder, or the text of an architecture.")
    ],
    architecture: Annotated[
        list[str] | None,
        typer.Option(help="An architecture of the run; without this option, its best. May be repeated."),
    ] = None,
    best: Annotated[int, typer.Option(min=1, help="The number of the run's best networks to train.")] = 1,
    recipe: Annotated[
        str | None, typer.Option(help="For the text of an architecture: the recipe with the images and `fit`.")
    ] = None,
    out: Out = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key of `fit`, e.g. epochs=30, or data.name=CIFAR10."),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    log_format: LogFormat = "text",
) -> None:
    """Train networks stand-alone, and measure them on the test images.

    For example: raynas fit runs/demo --best 3 --set epochs=30
    """
    from raynas.networks.fit import fit_architecture, fit_run
    from raynas.reporting.terminal import print_json
    from raynas.results.outcome import load
    from search_spaces.cell.public_genotype import is_public_genotype

    is_text = ": " in source or is_public_genotype(source)
    words = FIT_TEXT if is_text else FIT
    reporter = WordedReporter(open_reporter(quiet or as_json, log_format), words)
    correlations = None
    if is_text and (architecture or best > 1):
        raise UserError("--architecture and --best need a run folder: leave them out for the text of a network.")
    if recipe is not None and not is_text:
        raise UserError("--recipe is for the text of an architecture: leave it out, as a run has its own recipe.")
    with words.errors():
        if is_text:
            networks = [fit_architecture(source, out, changes or [], reporter, verbose, recipe)]
        else:
            networks = fit_run(source, architecture or [], changes or [], reporter, verbose, best)
            correlations = load(source).correlations
    if as_json:
        print_json(networks[0] if len(networks) == 1 else {"networks": networks, "correlations": correlations})
        return
    for network in networks:
        print_standalone(network)
        print(f"{network['run']}/{network['weights']}")
    if len(networks) > 1 and correlations is None:
        print("one-shot against stand-alone accuracy: too few or equal accuracies for a correlation")
    if correlations is not None:
        print(
            f"one-shot against stand-alone accuracy of {format_count(correlations['networks'], 'network')}: "
            f"Kendall's tau {correlations['kendall_tau']:.3f}, Spearman's rho {correlations['spearman_rho']:.3f}, "
            f"Pearson's r {correlations['pearson_r']:.3f}"
        )


def print_standalone(network: Mapping[str, Any]) -> None:
    """Print the accuracy and the costs of a network after stand-alone training."""
    from raynas.reporting.units import format_costs

    print(network["architecture"])
    print(f"stand-alone: test top-1 {network['top1']:.2f} %, {format_costs(network)}")
    if network["warning"]:
        print(f"warning: {FIT.say(network['warning'])}")
