"""`raynas fit`: stand-alone training of networks, of a finished run or by their text alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from raynas.opening import plan
from raynas.products import Weights
from raynas.progress import Reporter
from raynas.recipe import FitSettings, Recipe, kept_recipe
from raynas.results import Outcome, load
from raynas.run_folder import RunFolder, digest
from raynas.running import opened
from raynas.study import Study
from search_spaces import from_specification
from search_spaces.errors import UserError


def fit_run(
    run: str, texts: Sequence[str], changes: Sequence[str], reporter: Reporter, verbose: bool = False, best: int = 1
) -> list[dict[str, Any]]:
    """Train architectures of a finished run one after the other, each in a step of the run's own folder.

    Args:
        texts: the architectures; without any, the `best` ones, by their one-shot accuracy in the final step.
        changes: `KEY=VALUE` each, of the recipe's `fit` (`epochs=10`).

    Raises:
        UserError: if there is no finished run, or a text is not of its space.
    """
    outcome = load(run)
    folder = RunFolder(run)
    recipe = Recipe.read(kept_recipe(folder), [f"fit.{change}" for change in changes])
    with opened(plan(recipe, run), folder, reporter, verbose) as study:
        chosen = [str(study.space.parse(text)) for text in texts or outcome.most_accurate(best)]
        return [_fit(study, text, outcome) for text in dict.fromkeys(chosen)]


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
    folder = RunFolder(out or Path("runs") / f"fit-{digest([text, planned.recipe.json_value()])[:6]}")
    with opened(planned, folder, reporter, verbose) as study:
        return _fit(study, text, None)


def _is_of_the_recipe(change: str) -> bool:
    first, dot, _ = change.partition("=")[0].partition(".")
    return bool(dot) and first not in FitSettings.model_fields


def _fit(study: Study, text: str, outcome: Outcome | None) -> dict[str, Any]:
    architecture = study.space.parse(text)
    settings = study.recipe.fit
    start = None
    if settings.inherit:
        if outcome is None or outcome.weights is None or architecture not in from_specification(outcome.space):
            raise UserError("fit.inherit needs the run of a supernet that still holds every operation of the network.")
        from_specification(outcome.space).network_state(architecture, {})  # raises where nothing can be inherited
        start = Weights(outcome.weights, "inherited", [])
    name = f"fit-{digest([text, settings.json_value()])[:6]}"
    fitted = asdict(study.fit(name, architecture, settings, start))
    about = {"space": study.space.specification(), "settings": settings.json_value(), "seed": study.recipe.seed}
    study.folder.write_json(f"{name}.json", {**fitted, **about})
    return {"run": study.folder.uri, **fitted}
