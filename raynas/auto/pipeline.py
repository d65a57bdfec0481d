"""`raynas auto`: from a folder of images to an exported network, by a recipe that the user can edit."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from raynas.auto.announce import announce, describe_result, explain_choices
from raynas.auto.choices import (
    DEFAULT_TEST,
    ImageFolderSummary,
    choose_batch_size,
    choose_budget,
    choose_recipe,
    choose_space,
    choose_workers,
    inspect_images,
    inspect_machine,
)
from raynas.auto.options import AutoOptions
from raynas.networks.export import check_packages
from raynas.networks.fit import run_and_fit
from raynas.recipe.recipe import Recipe
from raynas.reporting.compare import parse_limits
from raynas.reporting.figures import check_plotly
from raynas.storage.progress import Reporter
from raynas.storage.run_folder import RunFolder
from search_spaces import Budget
from search_spaces.errors import Problems, UserError
from search_spaces.loading import load
from search_spaces.validation import absolute

if TYPE_CHECKING:
    from search_spaces import SearchSpace


def run_auto(
    folder: str,
    limits: Mapping[str, str | None],
    minutes: float,
    run: str,
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
        run: the run folder. Beside it lie the recipe, these options and, if latency is limited, the latency table.

    Returns:
        The paths `recipe`, `run`, `file`, `card` and `report`; `why` and `result`, lines for people; the network's
        figures.

    Raises:
        UserError: if the images, the limits or the machine are wrong, or if the run began with other options; before
            anything is trained.
    """
    recipe_file = _recipe_file(run)
    options, images = _check_input(folder, limits, minutes, test, run)
    step_seconds = None if recipe_file.exists() else _write_recipe(recipe_file, run, options, images, reporter)
    recipe = Recipe.read(str(recipe_file))
    machine = inspect_machine()
    for line in announce(recipe, images, machine, minutes, step_seconds):
        reporter.say(line)
    from raynas.networks.export import export  # imports torch
    from raynas.reporting.page import write_report

    outcome, network = run_and_fit(recipe, run, reporter, verbose)
    card = export(outcome.run, None, "onnx", None)
    files = {"recipe": str(recipe_file), "run": outcome.run, "file": card["file"], "card": card["card"]}
    files |= {"report": str(write_report([outcome.run]))}
    keys = ("architecture", "top1", "top5", "balanced_top1", "macs", "params", "latency_ms", "by_class", "warning")
    figures = {key: network[key] for key in keys}
    why = explain_choices(recipe, images, machine, minutes)
    return {**files, **figures, "why": why, "result": describe_result(network, files)}


def run_folder(folder: str, out: str | None) -> str:
    """Return the run folder of a call: `out`, or a folder with the name of the images under runs/."""
    return out or str(Path("runs") / f"auto-{absolute(folder).name}")


def _recipe_file(run: str) -> Path:
    return Path(f"{run}.yaml")


def _check_input(
    folder: str, limits: Mapping[str, str | None], minutes: float, test: float, run: str
) -> tuple[AutoOptions, ImageFolderSummary]:
    """Return the options and the images.

    Raises:
        UserError: with a sentence for each problem of them, and for each package that is missing at the end; before an
            image is read, if the run began with other options.
    """
    problems = Problems()
    path, recipe_file = absolute(folder), _recipe_file(run)
    with problems.collect():
        amounts = parse_limits(**limits)
        if not amounts:
            raise UserError("Give at least one limit: --max-macs 50M, --max-params 1M or --max-latency-ms 20.")
        options = AutoOptions(str(path), amounts, minutes, test)
    if recipe_file.exists():
        problems.check()
        options.check_unchanged(run, Recipe.read(str(recipe_file)), recipe_file)
    with problems.collect():
        images = inspect_images(path, test)
    for check in (partial(check_packages, "onnx"), check_plotly):
        with problems.collect():
            check()
    problems.check()
    return options, images


def _write_recipe(file: Path, run: str, options: AutoOptions, images: ImageFolderSummary, reporter: Reporter) -> float:
    """Write the options beside a run, then the recipe that follows from them.

    Returns:
        The seconds of a training step of the median network, on one worker.
    """
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
    return seconds


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
