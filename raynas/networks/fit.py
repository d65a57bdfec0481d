"""`raynas fit`: stand-alone training of networks, of a finished run or by their text alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raynas.recipe.recipe import Recipe, read_run_recipe
from raynas.recipe.settings import FitSettings
from raynas.results.fit_result import write_network
from raynas.results.outcome import Outcome, load
from raynas.storage.progress import Reporter
from raynas.storage.run_folder import RunFolder, digest
from raynas.storage.step_records import records
from raynas.storage.weights import Weights
from raynas.study.run import open_study
from raynas.study.run_plan import Plan, plan
from raynas.study.study import Study
from search_spaces import from_specification
from search_spaces.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from search_spaces import Architecture, SearchSpace


def fit_run(
    run: str, texts: Sequence[str], changes: Sequence[str], reporter: Reporter, verbose: bool = False, best: int = 1
) -> list[dict[str, Any]]:
    """Train architectures of a finished run one after the other, each in a step of the run's own folder.

    Isomorphic architectures are one network, which is trained once and then found; those that inherit weights are not,
    as a supernet has other weights for each.

    Args:
        texts: the architectures; without any, the `best` networks, by one-shot accuracy in the final step.
        changes: `KEY=VALUE` each, of the recipe's `fit` (`epochs=10`).

    Raises:
        UserError: if there is no finished run, or a text is not of its space.
    """
    outcome = load(run)
    folder = RunFolder(run)
    recipe = Recipe.read(read_run_recipe(folder), [f"fit.{change}" for change in changes])
    with open_study(plan(recipe, run), folder, reporter, verbose) as study:
        chosen = [study.space.parse(text) for text in texts or outcome.most_accurate(best)]
        return [_fit(study, architecture, outcome) for architecture in _distinct(study, chosen)]


def fit_architecture(
    text: str,
    out: str | Path | None,
    changes: Sequence[str],
    reporter: Reporter,
    verbose: bool = False,
    recipe: str | None = None,
) -> dict[str, Any]:
    """Train an architecture by its text, in a run folder of its own.

    Args:
        recipe: whose space's settings, images and `fit` it is trained with; without it, the defaults.
        changes: `KEY=VALUE` each, of the recipe's `fit`; with another part's name and a dot, of that part
            (`data.name=CIFAR10`, `space.width=0.5`).

    Raises:
        UserError: if the text is not an architecture of a known space, or a change is not one of a recipe.
    """
    content: dict[str, Any] = {"space": text.partition(":")[0].strip()}
    if recipe is not None:
        base = Recipe.read(recipe).json_value()
        content = {key: base[key] for key in ("space", "data", "evaluation", "fit", "scale", "seed")}
    asked = [change if _is_of_the_recipe(change) else f"fit.{change}" for change in changes]
    planned = plan(Recipe.read({**content, "method": "fit"}, asked), out)
    folder = RunFolder(out or _folder(text, planned))
    with open_study(planned, folder, reporter, verbose) as study:
        return _fit(study, study.space.parse(text), None)


def _folder(text: str, planned: Plan) -> Path:
    """Where a network is trained by its text alone: isomorphic texts share a folder, unless one has its own."""
    texts = [text, str(planned.space.canonical(planned.space.parse(text)))]
    folders = [Path("runs") / f"fit-{digest([one, planned.recipe.json_value()])[:6]}" for one in texts]
    return next((folder for folder in folders if folder.exists()), folders[-1])


def _is_of_the_recipe(change: str) -> bool:
    first, dot, _ = change.partition("=")[0].partition(".")
    return bool(dot) and first not in FitSettings.model_fields


def _distinct(study: Study, architectures: Sequence[Architecture]) -> list[Architecture]:
    """The first architecture of each network."""
    first: dict[Architecture, Architecture] = {}
    for one in architectures:
        first.setdefault(one if study.recipe.fit.inherit else study.space.canonical(one), one)
    return list(first.values())


def _fit(study: Study, architecture: Architecture, outcome: Outcome | None) -> dict[str, Any]:
    settings = study.recipe.fit
    start = None
    if settings.inherit:
        if outcome is None or outcome.weights is None or architecture not in from_specification(outcome.space):
            raise UserError("fit.inherit needs the run of a supernet that still holds every operation of the network.")
        from_specification(outcome.space).network_state(architecture, {})  # raises where nothing can be inherited
        start = Weights(outcome.weights, "inherited", [])
    name, architecture = _step(study, architecture)
    fitted = asdict(study.fit(name, architecture, settings, start))
    about = {"space": study.space.specification(), "settings": settings.json_value(), "seed": study.recipe.seed}
    about["isomorphic"] = [] if outcome is None else _isomorphic(study.space, architecture, fitted, outcome.table)
    write_network(study.folder, name, {**fitted, **about})
    return {"run": study.folder.uri, **fitted}


def _step(study: Study, architecture: Architecture) -> tuple[str, Architecture]:
    """The step that trains this network, and as which of its isomorphic architectures: a begun one, or one of its own.

    A network that inherits its weights is trained as no other.
    """
    settings, space = study.recipe.fit, study.space
    begun = _begun(study.folder, settings)
    if architecture not in begun and not settings.inherit:
        network = space.canonical(architecture)
        for other, name in begun.items():
            if space.canonical(other) == network:
                study.say(f"{architecture} is the network that {name} trains as {other}")
                return name, other
    own = f"fit-{digest([str(architecture), settings.json_value()])[:6]}"
    return begun.get(architecture, own), architecture


def _begun(folder: RunFolder, settings: FitSettings) -> dict[Architecture, str]:
    """The steps of a folder that train a network alone with these settings, by its architecture."""
    begun = {}
    for step in records(folder):
        if step["kind"] == "standalone-training" and step["identity"]["training"] == _decisive(settings):
            space = from_specification(step["identity"]["space"])
            begun[space.architecture([value for (value,) in space.values()])] = step["name"]
    return begun


def _decisive(settings: FitSettings) -> dict[str, Any]:
    """Return the settings that a step's identity holds."""
    return {key: value for key, value in settings.json_value().items() if key != "checkpoint_minutes"}


def _isomorphic(
    space: SearchSpace, architecture: Architecture, costs: Mapping[str, Any], table: pd.DataFrame
) -> list[str]:
    """The other texts of the table that are this network's, among those of its costs."""
    alike = table[(table["macs"] == costs["macs"]) & (table["params"] == costs["params"])]
    texts = sorted(set(alike["architecture"]) - {str(architecture)})
    return [text for text in texts if space.canonical(space.parse(text)) == space.canonical(architecture)]
