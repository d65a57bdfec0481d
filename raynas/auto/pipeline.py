"""`raynas auto`: from a folder of images to an exported network, by a recipe that the user can edit."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from raynas.auto.choices import (
    DEFAULT_TEST,
    ImageFolderSummary,
    Machine,
    choose_batch_size,
    choose_budget,
    choose_recipe,
    choose_space,
    choose_workers,
    inspect_images,
    inspect_machine,
)
from raynas.auto.options import AutoOptions
from raynas.networks.fit import run_and_fit
from raynas.recipe.recipe import Recipe
from raynas.reporting.compare import parse_limits
from raynas.reporting.units import format_costs
from raynas.storage.progress import Reporter
from raynas.storage.run_folder import RunFolder
from search_spaces import Budget
from search_spaces.budget.feasibility import window_text
from search_spaces.errors import UserError
from search_spaces.loading import load

if TYPE_CHECKING:
    from search_spaces import SearchSpace


def run_auto(
    folder: str,
    limits: Mapping[str, str | None],
    minutes: float,
    out: str | None,
    reporter: Reporter,
    verbose: bool,
    test: float = DEFAULT_TEST,
) -> dict[str, Any]:
    """Write a recipe, carry it out, train the best network stand-alone, export it and write the report.

    The same call continues a run that was stopped, or returns the result of a finished one. A call with other options
    needs another run folder.

    Args:
        limits: the most that the network may cost, by resource, in amounts as budgets write them; at least one.
        test: the share of each class to test on, if the folder has no test images.
        out: the run folder. Beside it lie the recipe, these options and, if latency is limited, the latency table.

    Returns:
        The paths `recipe`, `run`, `file`, `card` and `report`; `why`, lines for people; the network's figures.

    Raises:
        UserError: if the images, the limits or the machine are wrong, or if the run began with other options; before
            anything is trained.
    """
    amounts = parse_limits(**limits)
    if not amounts:
        raise UserError("Give at least one limit: --max-macs 50M, --max-params 1M or --max-latency-ms 20.")
    path = Path(folder).expanduser().absolute()
    run = out or str(Path("runs") / f"auto-{path.name}")
    recipe_file = Path(f"{run}.yaml")
    options = AutoOptions(str(path), amounts, minutes, test)
    if recipe_file.exists():
        options.check_unchanged(run, Recipe.read(str(recipe_file)), recipe_file)
    images = inspect_images(path, test)
    if not recipe_file.exists():
        _write_recipe(recipe_file, run, options, images, reporter)
    recipe = Recipe.read(str(recipe_file))
    from raynas.networks.export import export  # imports torch
    from raynas.reporting.page import write_report

    outcome, network = run_and_fit(recipe, run, reporter, verbose)
    card = export(outcome.run, None, "onnx", None)
    files = {"recipe": str(recipe_file), "run": outcome.run, "file": card["file"], "card": card["card"]}
    files |= {"report": str(write_report([outcome.run]))}
    keys = ("architecture", "top1", "top5", "balanced_top1", "macs", "params", "latency_ms", "by_class", "warning")
    figures = {key: network[key] for key in keys}
    return {**files, **figures, "why": explain_choices(recipe, images, inspect_machine(), minutes, network, files)}


def _write_recipe(file: Path, run: str, options: AutoOptions, images: ImageFolderSummary, reporter: Reporter) -> None:
    """Write the options beside a run, then the recipe that follows from them."""
    limits = options.limits
    space = load(**choose_space(images, limits), num_classes=images.classes)
    latency, table = None, None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        analytic = {key: {"max": limit} for key, limit in limits.items() if key != "latency_ms"}
        Budget.model_validate(analytic).check(space.costs())
        machine = inspect_machine()
        if "latency_ms" in limits:
            from raynas.latency.measurement import TimingSettings, measure_blocks

            latency = file.with_suffix(".latency.csv").absolute()
            device = "cuda" if machine.gpus else "cpu"
            table, _ = measure_blocks(space.latency_blocks(), TimingSettings(device), reporter)
            table.write(latency)
        budget = choose_budget(space, space.costs(latency=table), limits)
        seconds = median_step_seconds(space, choose_batch_size(images.train, choose_workers(machine)))
        folder, minutes = Path(options.images), options.minutes
        content = choose_recipe(folder, images, machine, budget, minutes, seconds, latency, options.test)
        Recipe.read(content)
        options.write(run)
        RunFolder(file.parent).write(file.name, yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode())
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror or error}.") from error


def median_step_seconds(space: SearchSpace, batch: int) -> float:
    """Time training steps of random networks on noise, on one thread or one GPU; return the median in seconds."""
    import torch
    from torch import nn

    device = "cuda" if torch.cuda.is_available() else "cpu"
    supernet = space.supernet().to(device).to(memory_format=torch.channels_last)
    images = torch.randn(batch, 3, space.resolution, space.resolution, device=device)
    images, labels = images.contiguous(memory_format=torch.channels_last), torch.zeros(batch, dtype=torch.int64)
    generator, threads, seconds = np.random.default_rng(0), torch.get_num_threads(), []
    torch.set_num_threads(1)
    try:
        for _ in range(6):
            start = time.perf_counter()
            loss = nn.functional.cross_entropy(supernet(images, space.sample(generator)), labels.to(device))
            torch.autograd.backward(loss)
            loss.item()
            seconds.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    return float(np.median(seconds[1:]))


def explain_choices(
    recipe: Recipe,
    images: ImageFolderSummary,
    machine: Machine,
    minutes: float,
    network: Mapping[str, Any],
    files: Mapping[str, str],
) -> list[str]:
    """Return lines for people: the choices with their reasons, the network and the files."""
    space, scale, fit = recipe.space, recipe.scale, recipe.fit
    windows = {key: limit.interval() for key, limit in recipe.budget.root.items()}
    limits = ", ".join(window_text(key, window) for key, window in windows.items())
    processors = (
        f"{scale.train.workers} GPUs" if scale.train.gpus else f"{scale.train.workers} of {machine.cores} cores"
    )
    method = recipe.method["name"]
    reason = "it prunes the space between searches" if method == "pad-nas" else "one search, as the time is short"
    return [
        f"images: {images.train:,} for training, {images.test:,} for testing, {images.classes} classes, "
        f"shorter side {images.side} pixels",
        f"resolution: {space['resolution']} pixels, the largest that enlarges no image and leaves the search room",
        f"machine: {machine.name}; training on {processors}, {scale.evaluate.actors} evaluators",
        f"space: {space['name']} at width {space['width']:g}, at which the median network costs about the limits",
        f"budget: {limits}",
        f"method: {method}: {reason}",
        f"schedule: about {minutes:g} minutes; stand-alone training for {fit.epochs} epochs, "
        f"batches of {fit.batch_size}",
        *([_explain_sampler(images)] if fit.sampler == "balanced" else []),
        f"network: {network['architecture']}",
        f"result: test top-1 {network['top1']:.2f} %, {format_costs(network)}",
        network["by_class"],
        *([f"warning: {network['warning']}"] if network["warning"] else []),
        f"files: {files['file']}, {files['card']}, {files['report']}; to change a choice, edit {files['recipe']} and "
        "start it with raynas run",
    ]


def _explain_sampler(images: ImageFolderSummary) -> str:
    return (
        f"classes: the largest has {images.imbalance:.3g} times the training images of the smallest, so stand-alone "
        "training draws each class equally often"
    )
