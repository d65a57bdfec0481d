"""The plan of a run: everything that a recipe names is looked up and checked, before anything is written or trained."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from raynas.interfaces.costs import LatencyEntries, costs_of
from raynas.recipe.recipe import Recipe
from raynas.recipe.settings import check_chosen
from raynas.recipe.user_space_file import read_space_file, with_space_file
from raynas.study.tracking import check_trackers_installed
from search_spaces.budget.budget import Budget
from search_spaces.errors import Problems, UserError, format_count

if TYPE_CHECKING:
    from raynas.data import PreparedData
    from search_spaces import Costs, SearchSpace
    from search_spaces.user_space import SpaceFile


@dataclass(frozen=True)
class Plan:
    """A checked recipe, and the objects that it names.

    Attributes:
        recipe: with the name and the hash of the file, if the space is a user's own file.
        space: the search space, unrestricted, with a classifier for the classes of the data.
        data: the prepared images.
        latency: the entries of the latency table, if the recipe names one.
        costs: of the space's architectures.
    """

    recipe: Recipe
    space: SearchSpace
    data: PreparedData
    latency: LatencyEntries | None
    costs: Costs


def plan(recipe: Recipe, run: str | Path | None = None, earlier: Problems | None = None) -> Plan:
    """Look up everything that a recipe names, and check that an architecture can meet its budget.

    Args:
        run: the run folder, if it is known. It holds the copy of a user's own space.
        earlier: problems of the recipe that are known already.

    Raises:
        UserError: if the latency table, the space, the data or the budget is wrong, or if there are earlier problems.
            It has a sentence for each problem. Images are decoded only if there is no other problem.
    """
    problems = Problems() if earlier is None else earlier
    with problems.collect():
        check_trackers_installed(recipe.track)
    build, latency = None, None
    with problems.collect():
        latency = _latency_entries(recipe)
    with problems.collect():
        file = read_space_file(recipe, run)
        build = _space_builder(recipe, file)
        resolution = build().resolution
    with problems.collect():
        if problems:
            _check_files(recipe)
        elif build is not None:
            space, data = _space_and_data(recipe, build, resolution)
    if problems and build is not None:
        with problems.collect():
            _check_greatest_costs(recipe.budget, build)
    problems.check()
    if file is not None:
        recipe = with_space_file(recipe, space, file)
    costs = costs_of(space, latency)
    recipe.budget.check(costs)
    return Plan(recipe, space, data, latency, costs)


def _check_greatest_costs(budget: Budget, build: Callable[..., SearchSpace]) -> None:
    """Raises UserError if no architecture meets the greatest costs that a budget allows, even with two classes.

    More classes cost more. So this check needs no images.
    """
    greatest = {
        key: {"max": limit.interval()[1]}
        for key, limit in budget.root.items()
        if key in ("macs", "params") and math.isfinite(limit.interval()[1])
    }
    if greatest:
        Budget.model_validate(greatest).check(build(num_classes=2).costs())


def _check_files(recipe: Recipe) -> None:
    """Raises UserError if a user's own images are not there or have no classes. Nothing is decoded or downloaded."""
    from raynas.data.sources import read_source

    if recipe.data.name in ("folder", "npz"):
        read_source(recipe.data, recipe.seed)


def check_fit(plan: Plan) -> None:
    """Check the recipe's `fit`. Only what trains a network stand-alone needs it: a search does not read `fit`.

    Raises:
        UserError: if the recipe leaves settings open, or if they do not fit the space, its classes, the number of
            images, or the workers.
    """
    from raynas.training.standalone_checks import check_standalone_settings

    settings, workers = plan.recipe.fit, plan.recipe.scale.train.workers
    problems = Problems()
    with problems.collect():
        check_chosen(settings, "fit")
    with problems.collect():
        check_standalone_settings(plan.space, settings)
    if "batch_size" in settings.model_fields_set:
        with problems.collect():
            _check_fit_batch(settings.batch_size, plan.data.count("all-training"), workers, settings.accumulate)
    problems.check()


def _check_fit_batch(batch_size: int, images: int, workers: int, accumulate: int) -> None:
    if batch_size > images:
        raise UserError(
            f"fit.batch_size is {batch_size}, but there {'is' if images == 1 else 'are'} only "
            f"{format_count(images, 'training image')}: lower it."
        )
    if batch_size < workers * accumulate:
        raise UserError(
            f"fit.batch_size = {batch_size} is less than {format_count(workers, 'worker')} times "
            f"{format_count(accumulate, 'micro-batch')}: raise it, or lower scale.train.workers or fit.accumulate."
        )


def _space_builder(recipe: Recipe, file: SpaceFile | None) -> Callable[..., SearchSpace]:
    from search_spaces import load

    settings = {key: value for key, value in recipe.space.items() if key not in ("name", "file")}
    if "num_classes" in settings:
        raise UserError("The number of classes follows from the data: leave space.num_classes out.")
    return partial(partial(load, recipe.space["name"]) if file is None else file.space, **settings)


def _space_and_data(
    recipe: Recipe, build: Callable[..., SearchSpace], resolution: int
) -> tuple[SearchSpace, PreparedData]:
    from raynas.data import prepare

    data = prepare(recipe.data, resolution, recipe.seed)
    space = build(num_classes=len(data.classes))
    if space.num_classes != len(data.classes):
        raise UserError(
            f"{space.name} has {format_count(space.num_classes, 'class')}, but the data has {len(data.classes)}: let "
            "the space take the setting num_classes."
        )
    return space, data


def _latency_entries(recipe: Recipe) -> LatencyEntries | None:
    from search_spaces import LatencyTable

    if recipe.latency is None:
        return None
    return tuple(LatencyTable.read(recipe.latency.path, recipe.latency.table).entries_ms.items())
