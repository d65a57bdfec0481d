"""The numbers of processes and threads that a recipe leaves open: they follow from the cores of this machine.

They are a part of the run's recipe from its first step on, so a run that goes on elsewhere keeps them. On a cluster
that was there before raynas, the defaults of the recipe stay.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from raynas.cluster.ray_session import starts_own_ray
from raynas.study.run_files import recipe_of_begun_run

if TYPE_CHECKING:
    from raynas.recipe.recipe import Recipe
    from raynas.storage.run_folder import RunFolder
    from raynas.study.run_plan import Plan

IMAGES_PER_WORKER = 16
"""The fewest images of a batch for each worker: batch norm sees these alone."""
_MOST_EVALUATORS = 8
"""The most evaluators by default: each holds a supernet and the images' cache."""


def with_automatic_scale(plan: Plan, folder: RunFolder, cores: int | None) -> Plan:
    """Return the plan with all numbers of workers, evaluators and threads.

    A number in the recipe stays. An open number is read from the run folder, if its run has begun there, or chosen.

    Args:
        cores: the cores for a run that starts its own Ray; None for a Ray that was there before (`cores_of_own_ray`).
    """
    recipe = plan.recipe
    begun = recipe_of_begun_run(folder)
    if begun is not None:
        chosen = begun["scale"]
    elif cores is not None:
        chosen = choose_scale(recipe, cores)
    else:
        return plan
    groups = {
        group: settings.changed(
            **{key: chosen[group][key] for key in ("workers", "actors", "threads") if _is_open(settings, key)}
        )
        for group, settings in (("train", recipe.scale.train), ("evaluate", recipe.scale.evaluate))
    }
    return replace(plan, recipe=recipe.changed(scale=recipe.scale.changed(**groups)))


def choose_scale(recipe: Recipe, cores: int) -> dict[str, dict[str, int]]:
    """Return the workers, evaluators and threads for a number of cores.

    Workers of one thread train faster than one worker of several threads (`benchmarks.speed.cores`), above all beside
    other programs, for which threads wait. But each worker needs enough images for its batch norm. GPUs need no further
    processes.
    """
    train, evaluate = recipe.scale.train, recipe.scale.evaluate
    batch = min(recipe.training.batch_size, recipe.fit.batch_size)
    accumulate = max(recipe.training.accumulate, recipe.fit.accumulate)
    workers = 1 if train.gpus else max(1, min(cores, batch // (IMAGES_PER_WORKER * accumulate)))
    workers = train.workers if not _is_open(train, "workers") else workers
    return {
        "train": {"workers": workers, "threads": 1},
        "evaluate": {"actors": evaluate.actors if evaluate.gpus else min(cores, _MOST_EVALUATORS), "threads": 1},
    }


def _is_open(settings: Any, key: str) -> bool:
    return key in type(settings).model_fields and key not in settings.model_fields_set


def cores_of_own_ray() -> int | None:
    """Return the cores that this process may use, by its affinity and its container; None if it will join a Ray."""
    from joblib import cpu_count

    return int(cpu_count()) if starts_own_ray() else None
