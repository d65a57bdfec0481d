"""`raynas auto`: from a folder of images to a network in use, by a recipe that it writes and that can be edited."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import yaml
from torch import nn

import raynas
from raynas.auto.choices import (
    ImageFolderSummary,
    Machine,
    batch_size_of,
    look_at_images,
    look_at_machine,
    recipe_of,
    space_of,
    workers_of,
)
from raynas.latency.measurement import Bench, measure
from raynas.networks.export import export
from raynas.networks.fit import fit_run
from raynas.recipe.recipe import Recipe
from raynas.reporting.compare import limits_of
from raynas.storage.progress import Reporter
from raynas.storage.run_folder import RunFolder
from search_spaces import Budget
from search_spaces.errors import UserError
from search_spaces.loading import load

if TYPE_CHECKING:
    from search_spaces import SearchSpace


def median_step_seconds(space: SearchSpace, batch: int) -> float:
    """How long training takes on a batch of noise, for the middle one of a few drawn networks; on one thread or GPU."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    supernet = space.supernet().to(device).to(memory_format=torch.channels_last)
    images = torch.randn(batch, 3, space.resolution, space.resolution, device=device)
    images, labels = images.contiguous(memory_format=torch.channels_last), torch.zeros(batch, dtype=torch.int64)
    generator, before, seconds = np.random.default_rng(0), torch.get_num_threads(), []
    torch.set_num_threads(1)
    try:
        for _ in range(6):
            begun = time.perf_counter()
            loss = nn.functional.cross_entropy(supernet(images, space.sample(generator)), labels.to(device))
            torch.autograd.backward(loss)
            loss.item()
            seconds.append(time.perf_counter() - begun)
    finally:
        torch.set_num_threads(before)
    return float(np.median(seconds[1:]))


def auto(
    folder: str, limits: Mapping[str, str | None], minutes: float, out: str | None, reporter: Reporter, verbose: bool
) -> dict[str, Any]:
    """Choose, search, train what was found alone, export it and report; goes on where it was stopped.

    Args:
        limits: the most that the network may cost, by resource, as budgets write amounts; at least one.
        out: the run folder; the recipe, and the latency table where one is measured, lie beside it.

    Returns:
        `recipe`, `run`, `file`, `card` and `report` as paths, `why`, lines for people, and the network's figures.

    Raises:
        UserError: for what is wrong with the images, the limits or the machine, before anything is trained.
    """
    most = limits_of(**limits)
    if not most:
        raise UserError("Give at least one limit: --max-macs 50M, --max-params 1M or --max-latency-ms 20.")
    path = Path(folder).expanduser().absolute()
    run = out or str(Path("runs") / f"auto-{path.name}")
    recipe_file = Path(f"{run}.yaml")
    images, machine = look_at_images(path), look_at_machine()
    if not recipe_file.exists():
        _write_recipe(recipe_file, path, images, machine, most, minutes, reporter)
    recipe = Recipe.read(str(recipe_file))
    _check_recipe_matches(recipe, path, most, recipe_file)
    outcome = raynas.run(recipe, run, reporter=reporter, verbose=verbose)
    (fitted,) = fit_run(outcome.run, [], [], reporter, verbose)
    card = export(outcome.run, None, "onnx", None)
    from raynas.reporting.page import report

    told = {"recipe": str(recipe_file), "run": outcome.run, "file": card["file"], "card": card["card"]}
    told |= {"report": str(report([outcome.run]))}
    figures = {key: fitted[key] for key in ("architecture", "top1", "top5", "macs", "params", "latency_ms")}
    return {**told, **figures, "why": why(recipe, images, machine, minutes, fitted, told)}


def _write_recipe(
    file: Path,
    folder: Path,
    images: ImageFolderSummary,
    machine: Machine,
    limits: Mapping[str, float],
    minutes: float,
    reporter: Reporter,
) -> None:
    space = load(**space_of(images, limits), num_classes=images.classes)
    latency, table = None, None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if "latency_ms" in limits:
            latency = file.with_suffix(".latency.csv").absolute()
            table, _ = measure(space.latency_blocks(), Bench("cuda" if machine.gpus else "cpu"), reporter)
            table.write(latency)
        Budget.model_validate({key: {"max": most} for key, most in limits.items()}).check(space.costs(latency=table))
        seconds = median_step_seconds(space, batch_size_of(images.train, workers_of(machine)))
        content = recipe_of(folder, images, machine, limits, minutes, seconds, latency)
        Recipe.read(content)
        RunFolder(file.parent).write(file.name, yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode())
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror or error}.") from error


def _check_recipe_matches(recipe: Recipe, folder: Path, limits: Mapping[str, float], file: Path) -> None:
    """Raises UserError if the recipe that is there is for other images or limits."""
    asked = Budget.model_validate({key: {"max": most} for key, most in limits.items()})
    if recipe.data.path != folder or recipe.budget != asked:
        raise UserError(f"{file} is a recipe for other images or limits: remove it, or give another folder with --out.")


def why(
    recipe: Recipe,
    images: ImageFolderSummary,
    machine: Machine,
    minutes: float,
    fitted: Mapping[str, Any],
    told: Mapping[str, str],
) -> list[str]:
    """Ten lines for people: what was chosen and why, what came of it, and where it lies."""
    space, scale, fit = recipe.space, recipe.scale, recipe.fit
    limits = ", ".join(f"{key} at most {limit.max:,.10g}" for key, limit in recipe.budget.root.items())
    on = f"{scale.train.workers} GPUs" if scale.train.gpus else f"{scale.train.workers} of {machine.cores} cores"
    method = recipe.method["name"]
    reason = "prunes the space between searches" if method == "pad-nas" else "one search, as the minutes are few"
    latency = "" if fitted["latency_ms"] is None else f", {fitted['latency_ms']:.3f} ms by the table"
    return [
        f"images: {images.train:,} to train on, {images.test:,} to test on, {images.classes} classes, "
        f"{images.side} pixels",
        f"resolution: {space['resolution']} pixels, the nearest below theirs",
        f"machine: {machine.name}; training on {on}, {scale.evaluate.actors} evaluators",
        f"space: {space['name']} at width {space['width']:g}, where a middling network comes nearest to the limits",
        f"limits: {limits}",
        f"method: {method}, which {reason}" if method == "pad-nas" else f"method: {method}: {reason}",
        f"schedule: for about {minutes:g} minutes; alone, {fit.epochs} epochs in batches of {fit.batch_size}",
        f"network: {fitted['architecture']}",
        f"it has {fitted['top1']:.2f} % of the test images right, {fitted['macs'] / 1e6:.3f} M multiply-adds, "
        f"{fitted['params'] / 1e6:.3f} M parameters{latency}",
        f"files: {told['file']}, {told['card']}, {told['report']}; edit {told['recipe']} and raynas run it for another",
    ]
