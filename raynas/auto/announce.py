"""What `raynas auto` says: the choices with their reasons, an estimate of the time, the result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from raynas.auto.choices import ImageFolderSummary, Machine, estimate_minutes
from raynas.recipe.recipe import Recipe
from raynas.reporting.units import format_costs
from search_spaces.budget.feasibility import window_text
from search_spaces.errors import format_count, name_some


def announce(
    recipe: Recipe, images: ImageFolderSummary, machine: Machine, minutes: float, step_seconds: float | None
) -> Iterator[str]:
    """Yield lines to show before the run: the images, the choices, the minutes of each part of the run.

    Args:
        step_seconds: of a training step on one worker; None if it was not measured, for a recipe of an earlier call.
    """
    yield from explain_choices(recipe, images, machine, minutes)
    if step_seconds is None:
        yield "estimate: none, as the recipe is there already; finished steps of its run are kept"
        return
    parts = estimate_minutes(recipe, images, machine, step_seconds)
    listed = ", ".join(f"{part} {part_minutes:.1f}" for part, part_minutes in parts.items())
    total = max(1, round(sum(parts.values())))
    yield f"estimate: about {format_count(total, 'minute')} ({listed})"


def explain_choices(recipe: Recipe, images: ImageFolderSummary, machine: Machine, minutes: float) -> list[str]:
    """Return lines for people: what was found and chosen, with the reasons."""
    space, scale, fit = recipe.space, recipe.scale, recipe.fit
    windows = {key: limit.interval() for key, limit in recipe.budget.root.items()}
    limits = ", ".join(window_text(key, window) for key, window in windows.items())
    cores = f"{scale.train.workers} of {format_count(machine.cores, 'core')}"
    processors = format_count(scale.train.workers, "GPU") if scale.train.gpus else cores
    method = recipe.method["name"]
    reason = "it prunes the space between searches" if method == "pad-nas" else "one search, as the time is short"
    epochs = sum(recipe.method["epochs"]) if method == "pad-nas" else recipe.training.epochs
    return [
        f"images: {images.train:,} for training, {images.test:,} for testing, {format_count(images.classes, 'class')} "
        f"({name_some(images.names, 5)}), shorter side {images.side} pixels",
        f"resolution: {space['resolution']} pixels, the largest that enlarges no image and leaves the search room",
        f"machine: {machine.name}; training on {processors}, {format_count(scale.evaluate.actors, 'evaluator')}",
        f"space: {space['name']} at width {space['width']:g}, at which the median network costs about the limits",
        f"budget: {limits}",
        f"method: {method}: {reason}",
        f"schedule: for about {format_count(minutes, 'minute')}: {format_count(epochs, 'epoch')} of supernet training, "
        f"{format_count(fit.epochs, 'epoch')} of stand-alone training, batches of {fit.batch_size}",
        *([_explain_sampler(images)] if fit.sampler == "balanced" else []),
    ]


def _explain_sampler(images: ImageFolderSummary) -> str:
    return (
        f"classes: the largest has {images.imbalance:.3g} times the training images of the smallest, so stand-alone "
        "training draws each class equally often"
    )


def describe_result(network: Mapping[str, Any], files: Mapping[str, str]) -> list[str]:
    """Return lines for people about the network, with a warning if it has one, and the files."""
    return [
        f"network: {network['architecture']}",
        f"result: test top-1 {network['top1']:.2f} %, {format_costs(network)}",
        network["by_class"],
        *([f"warning: {network['warning']}"] if network["warning"] else []),
        f"files: {files['file']}, {files['card']}, {files['report']}; to change a choice, edit {files['recipe']} and "
        "start it with raynas run",
    ]
