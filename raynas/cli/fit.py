"""The command `raynas fit`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raynas.cli.options import Json, LogFormat, Out, Quiet, Verbose, open_reporter
from raynas.cli.words import FIT, FIT_TEXT, WordedReporter
from search_spaces.errors import UserError, format_count, nearest

if TYPE_CHECKING:
    from raynas.recipe.recipe import Recipe

app = typer.Typer()


@app.command()
def fit(
    source: Annotated[
        str,
        typer.Argument(
            metavar="RUN-OR-ARCHITECTURE",
            help="A run folder; the text of an architecture; or the name of a published one (`raynas spaces`).",
        ),
    ],
    architecture: Annotated[
        list[str] | None,
        typer.Option(help="An architecture of the run, or a published one; by default its best. Repeatable."),
    ] = None,
    best: Annotated[int, typer.Option(min=1, help="The number of the run's best networks to train.")] = 1,
    recipe: Annotated[
        str | None, typer.Option(help="For the text of an architecture: the recipe with the images and `fit`.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="For an architecture: the images. A folder, .zip, .tar, .csv or .npz, or a data set such as CIFAR10."
        ),
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

    For example: raynas fit runs/demo --best 3 --set epochs=30, or raynas fit hournas-a --data flowers
    """
    from raynas.networks.fit import fit_architecture, fit_run
    from raynas.reporting.terminal import print_json
    from raynas.results.outcome import load

    text = _architecture_text(source)
    words = FIT if text is None else FIT_TEXT
    reporter = WordedReporter(open_reporter(quiet or as_json, log_format), words)
    correlations = None
    if text is not None and (architecture or best > 1):
        raise UserError("--architecture and --best need a run folder: leave them out for the text of a network.")
    if text is None and (recipe is not None or data is not None):
        option = "--data" if recipe is None else "--recipe"
        raise UserError(f"{option} is for the text of an architecture: leave it out, as a run has its own recipe.")
    with words.errors():
        if text is not None:
            own_recipe = _recipe_of_text(text, None if text == source else source, recipe, data, changes or [])
            networks = [fit_architecture(text, out, own_recipe, reporter, verbose)]
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
    print(network["by_class"])
    if network["warning"]:
        print(f"warning: {FIT.say(network['warning'])}")


def _architecture_text(source: str) -> str | None:
    """Return the text of an architecture, or of the published architecture with this name; None for a run folder.

    Raises:
        UserError: if there is no such folder, and no such name.
    """
    from search_spaces.cell.public_genotype import is_public_genotype
    from search_spaces.published_networks import published_names, published_text

    if ": " in source or is_public_genotype(source):
        return source
    if os.path.exists(source) or "/" in source:
        return None
    text = published_text(source)
    if text is None:
        raise UserError(
            f"{source} is not the folder of a run, and no published architecture has this name; "
            f"{nearest(source, published_names())}"
        )
    return text


def _recipe_of_text(
    text: str, published: str | None, recipe: str | None, data: str | None, changes: Sequence[str]
) -> Recipe:
    """Return the recipe that trains the architecture of a text.

    Args:
        published: the name of the architecture, if it is a published one.

    Raises:
        UserError: if no images are named for a published architecture.
    """
    from raynas.networks.fit import fit_recipe

    images = {} if data is None else _data_settings(data)
    if recipe is not None or (data is None and published is None):
        return fit_recipe(text, recipe, changes, images)
    if data is None and not any(change.startswith("data.name=") for change in changes):
        raise UserError(f"Name the images for {published}: --data FOLDER, or the name of a data set such as CIFAR10.")
    from raynas.auto.fit_choices import choose_fit_recipe

    return choose_fit_recipe(text, images, changes)


def _data_settings(data: str) -> dict[str, str]:
    """Return the settings of images: files of the user, or a data set by its name.

    Raises:
        UserError: if there is neither.
    """
    from raynas.data.torchvision_sets import torchvision_names

    if os.path.exists(data):
        return {"name": "npz" if data.endswith(".npz") else "folder", "path": data}
    known = ["digits", *torchvision_names()]
    if data not in known:
        raise UserError(f"--data: there is nothing at {data}, and no data set is called so; {nearest(data, known)}")
    return {"name": data}
