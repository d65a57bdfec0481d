"""The jobs of a run's steps, made from its recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from raynas.evaluation.racing_evaluation import Race
from raynas.recipe.settings import FitSettings, TrainingSettings
from raynas.search_trials.job import SearchJob
from raynas.training.job import TrainingJob

if TYPE_CHECKING:
    from raynas.data.images import DataPart
    from raynas.interfaces.objective import Objective
    from raynas.interfaces.searcher import Searcher
    from raynas.storage.weights import Weights
    from raynas.study.run_context import RunContext
    from search_spaces import SearchSpace


def training_job(
    context: RunContext,
    name: str,
    space: SearchSpace,
    objective: Objective,
    settings: TrainingSettings,
    start: Weights | None,
    streams: Mapping[str, DataPart],
) -> TrainingJob:
    """Return the job of a training step."""
    plan = context.plan
    scale = plan.recipe.scale
    return TrainingJob(
        run=context.folder.uri,
        name=name,
        attempt=context.attempt,
        space=space.specification(),
        objective=objective.reference(),
        latency=plan.latency,
        budget=plan.recipe.budget,
        training=FitSettings(**settings.json_value()),
        evaluation=plan.recipe.evaluation,
        data=plan.data,
        parts=dict(streams),
        start=start.file if start else None,
        shared_columns=context.shared_columns("validation"),
        seed=context.seed_of(name),
        workers=scale.train.workers,
        threads=scale.train.threads,
        deterministic=scale.deterministic,
        early_stop=context.early_stop if objective.chooses else None,
    )


def search_job(
    context: RunContext, name: str, space: SearchSpace, searcher: Searcher, weights_version: str, may_race: bool
) -> SearchJob:
    """Return the job of a search step: a trial for each of the searcher's islands."""
    plan = context.plan
    images = plan.data.count("validation")
    return SearchJob(
        run=context.folder.uri,
        attempt=context.attempt,
        step=name,
        space=space.specification(),
        latency=plan.latency,
        searcher=searcher.reference(),
        budget=plan.recipe.budget,
        seeds=tuple(context.seed_of(name, trial) for trial in range(searcher.islands)),
        race=Race.of(plan.recipe.evaluation, images) if may_race else None,
        shared_columns=context.shared_columns("validation", weights_version),
        threads=plan.recipe.scale.evaluate.threads,
    )
