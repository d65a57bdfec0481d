"""`raynas fit`: stand-alone training of networks, from a finished run or from the text of an architecture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from raynas.recipe.recipe import Recipe, read_run_recipe
from raynas.recipe.settings import FitSettings
from raynas.results.class_accuracy import ClassAccuracy
from raynas.results.fit_result import write_network
from raynas.results.guessing import LargestClass, describe_guess
from raynas.results.outcome import Outcome, load
from raynas.storage.progress import Reporter
from raynas.storage.run_folder import RunFolder, digest
from raynas.storage.step_records import records
from raynas.storage.weights import Weights
from raynas.study.automatic_scale import cores_of_own_ray, with_automatic_scale
from raynas.study.run import carried_out, open_study
from raynas.study.run_plan import Plan, check_fit, plan
from raynas.study.study import Study
from search_spaces import from_specification
from search_spaces.errors import Problems, UserError
from search_spaces.families.darts import settings_of_text
from search_spaces.published_networks import published_text

if TYPE_CHECKING:
    import pandas as pd

    from search_spaces import Architecture, SearchSpace


def fit_run(
    run: str, texts: Sequence[str], changes: Sequence[str], reporter: Reporter, verbose: bool = False, best: int = 1
) -> list[dict[str, Any]]:
    """Train architectures of a finished run stand-alone, each in a step of the run folder, and return their figures.

    Isomorphic architectures are one network, which is trained only once. With `fit.inherit` they are different
    networks, because a supernet has different weights for each.

    Args:
        texts: the architectures, or names of published ones; if there are none, the `best` networks by one-shot
            accuracy in the final step.
        changes: `KEY=VALUE` each, for the `fit` settings of the recipe (`epochs=10`).

    Raises:
        UserError: if the run is not finished, or a text is no architecture of its space.
    """
    outcome = load(run)
    folder = RunFolder(run)
    recipe = Recipe.read(read_run_recipe(folder), [f"fit.{change}" for change in changes])
    planned = plan(recipe, run)
    problems = Problems()
    architectures = []
    for text in texts or outcome.most_accurate(best):
        with problems.collect():
            architectures.append(planned.space.parse(published_text(text) or text))
    with problems.collect():
        check_fit(planned)
    problems.check()
    with open_study(planned, folder, reporter, verbose) as study:
        return [_train(study, architecture, outcome) for architecture in _distinct_networks(study, architectures)]


def run_and_fit(
    recipe: Recipe, out: str | Path | None, reporter: Reporter, verbose: bool = False
) -> tuple[Outcome, dict[str, Any]]:
    """Carry out a recipe, then train its best network stand-alone with the same processes.

    Returns:
        The outcome of the run, and the figures of the network.

    Raises:
        UserError, StepFailed: as `raynas.run`.
    """
    with carried_out(recipe, out, reporter, verbose, fits=True) as (study, outcome):
        return outcome, _train(study, study.space.parse(outcome.most_accurate(1)[0]), outcome)


def fit_architecture(
    text: str,
    out: str | Path | None,
    recipe: Recipe,
    reporter: Reporter,
    verbose: bool = False,
) -> dict[str, Any]:
    """Train the architecture of a text stand-alone, in a run folder of its own, and return its figures.

    Args:
        recipe: the space, the images and the `fit` settings (`fit_recipe`).

    Raises:
        UserError: if the text is no architecture of the space, or if the recipe does not fit the images.
    """
    planned = plan(recipe, out)
    problems = Problems()
    with problems.collect():
        architecture = planned.space.parse(text)
    with problems.collect():
        check_fit(planned)
    problems.check()
    folder = RunFolder(out or _default_folder(text, planned))
    with open_study(with_automatic_scale(planned, folder, cores_of_own_ray()), folder, reporter, verbose) as study:
        for note in recipe.notes:
            study.say(note)
        return _train(study, architecture, None)


def fit_recipe(
    text: str, recipe: str | None, changes: Sequence[str], data: Mapping[str, Any] = MappingProxyType({})
) -> Recipe:
    """Return the recipe of `fit_architecture`: space, images and `fit` settings of a recipe or of the defaults.

    Args:
        recipe: a file, or the name of a recipe that ships with raynas.
        changes: `KEY=VALUE` each, for the `fit` settings of the recipe, or for another group of the recipe if the key
            begins with its name (`data.name=CIFAR10`, `space.width=0.5`).
        data: `name` and `path` of other images than the recipe's.

    Raises:
        UserError: if the text names no space, or a change no key of a recipe.
    """
    content: dict[str, Any] = {"space": _space_of_text(text, recipe)}
    if recipe is not None:
        base = Recipe.read(recipe).json_value()
        content = {key: base[key] for key in ("space", "data", "evaluation", "fit", "scale", "seed")}
    if data:
        content["data"] = {**content.get("data", {}), "path": None, **data}
    recipe_changes = [change if _names_group(change) else f"fit.{change}" for change in changes]
    return Recipe.read({**content, "method": "fit"}, recipe_changes)


def _space_of_text(text: str, recipe: str | None) -> dict[str, Any]:
    """Return the space that a text names, with the settings that the text decides."""
    own = settings_of_text(text)
    name, colon, _ = text.partition("Genotype")[0].partition(":")
    if own and not colon and recipe is None:
        raise UserError("Name the space of this Genotype: begin the text with 'darts:' or 'darts-imagenet:'.")
    return {"name": name.strip(), **own}


def _default_folder(text: str, planned: Plan) -> Path:
    """Return the run folder of a text. Isomorphic texts share a folder, unless the text already has its own."""
    texts = [text, str(planned.space.canonical(planned.space.parse(text)))]
    folders = [Path("runs") / f"fit-{digest([own, planned.recipe.json_value()])[:6]}" for own in texts]
    return next((folder for folder in folders if folder.exists()), folders[-1])


def _names_group(change: str) -> bool:
    """Return whether the key of a change begins with a group of the recipe other than `fit`."""
    first, dot, _ = change.partition("=")[0].partition(".")
    return bool(dot) and first not in FitSettings.model_fields


def _distinct_networks(study: Study, architectures: Sequence[Architecture]) -> list[Architecture]:
    """Return the first architecture of each network."""
    first: dict[Architecture, Architecture] = {}
    for architecture in architectures:
        network = architecture if study.recipe.fit.inherit else study.space.canonical(architecture)
        first.setdefault(network, architecture)
    return list(first.values())


def _train(study: Study, architecture: Architecture, outcome: Outcome | None) -> dict[str, Any]:
    settings = study.recipe.fit
    start = _inherited_weights(architecture, outcome) if settings.inherit else None
    name, architecture = _choose_step(study, architecture)
    figures = asdict(study.fit(name, architecture, settings, start))
    data = study.context.plan.data
    guess = describe_guess(figures["top1"], data.counts["test"], LargestClass(*data.largest_test_class))
    by_class = ClassAccuracy.of(data.classes, figures["confusion"])
    figures |= by_class.figures()
    origin = {"space": study.space.specification(), "settings": settings.json_value(), "seed": study.recipe.seed}
    isomorphic = [] if outcome is None else _isomorphic_texts(study.space, architecture, figures, outcome.table)
    write_network(study.folder, name, {**figures, **origin, "isomorphic": isomorphic})
    return {"run": study.folder.uri, **figures, "by_class": by_class.describe(), "warning": guess}


def _inherited_weights(architecture: Architecture, outcome: Outcome | None) -> Weights:
    """Return the weights of the supernet; raises UserError if it does not hold every operation of the network."""
    if outcome is None or outcome.weights is None or architecture not in from_specification(outcome.space):
        raise UserError("fit.inherit needs the run of a supernet that still holds every operation of the network.")
    from_specification(outcome.space).network_state(architecture, {})  # raises if no weight can be inherited
    return Weights(outcome.weights, "inherited", [])


def _choose_step(study: Study, architecture: Architecture) -> tuple[str, Architecture]:
    """Return the step that trains this network, and the architecture that it is trained as.

    If a step already trains an isomorphic architecture with these settings, it is that step. A network that inherits
    its weights has a step of its own.
    """
    settings, space = study.recipe.fit, study.space
    steps = _begun_steps(study.folder, settings)
    if architecture not in steps and not settings.inherit:
        network = space.canonical(architecture)
        for other, name in steps.items():
            if space.canonical(other) == network:
                study.say(f"{architecture} is the network that the step {name} trains as {other}")
                return name, other
    own = f"fit-{digest([str(architecture), settings.json_value()])[:6]}"
    return steps.get(architecture, own), architecture


def _begun_steps(folder: RunFolder, settings: FitSettings) -> dict[Architecture, str]:
    """Return the steps of a folder that train a network stand-alone with these settings, by architecture."""
    steps = {}
    for step in records(folder):
        if step["kind"] == "standalone-training" and step["identity"]["training"] == _decisive_settings(settings):
            space = from_specification(step["identity"]["space"])
            steps[space.architecture([value for (value,) in space.values()])] = step["name"]
    return steps


def _decisive_settings(settings: FitSettings) -> dict[str, Any]:
    """Return the settings that the identity of a step holds."""
    return {key: value for key, value in settings.json_value().items() if key != "checkpoint_minutes"}


def _isomorphic_texts(
    space: SearchSpace, architecture: Architecture, costs: Mapping[str, Any], table: pd.DataFrame
) -> list[str]:
    """Return the other architectures of the table that are this network. They have its costs."""
    same_costs = table[(table["macs"] == costs["macs"]) & (table["params"] == costs["params"])]
    texts = sorted(set(same_costs["architecture"]) - {str(architecture)})
    return [text for text in texts if space.canonical(space.parse(text)) == space.canonical(architecture)]
