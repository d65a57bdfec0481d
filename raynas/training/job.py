"""The training job: all that a training worker needs, as plain JSON. Also the names of a training's files."""

from __future__ import annotations

from typing import Any

from raynas.data.images import DataPart
from raynas.data.settings import PreparedData
from raynas.evaluation.request import Evaluators
from raynas.interfaces.costs import LatencyEntries
from raynas.recipe.settings import EvaluationSettings, FitSettings, Settings
from raynas.storage.portable import Reference
from raynas.training.early_stop import EarlyStopClient
from search_spaces import Budget
from search_spaces.errors import UserError, format_count

PROGRESS_FILE = "progress.json"
"""How far the training is."""
PROBABILITIES_FILE = "probabilities.json"
"""The last weights of the options, one row a choice, if the learner weighs options."""
WORKERS_FILE = "workers.json"
"""The number of workers that a training goes on with, if it began with more."""
FAILURE_FILE = "failure.json"
"""Why a training cannot go on: a `message`, and the `kind`, divergence or memory."""
UNREADABLE_FILE = "unreadable-checkpoints.json"
"""The checkpoints that could not be read (`files`), and the checkpoint that was loaded (`instead`)."""

_DECISIVE = {
    *("space", "latency", "training", "evaluation", "parts", "start", "seed"),
    *("workers", "threads", "deterministic"),
}


class TrainingJob(Settings):
    """A training step.

    Attributes:
        run: the run folder's URI.
        name: the step's name.
        folder: the step's folder in the run folder.
        attempt: the number of the driver's attempt.
        space: the space's specification. The supernet holds the surviving options.
        latency: the entries of the run's latency table.
        parts: the part of the images that each stream reads (`{"train": "train"}`).
        start: the file of the initial weights; None for new weights.
        shared_columns: the columns that all rows of the evaluation table share.
        seed: the seed of every draw, together with epoch and training step.
        workers: the number of data-parallel workers at the start.
        threads: torch threads of each worker.
        evaluators: those that measure the most probable architecture after each epoch.
        early_stop: in a sweep that stops trainings early, where the decisions are.
        rate_factor: the share of the learning rate that is left after divergences.
    """

    run: str
    name: str
    folder: str = ""
    attempt: int
    space: dict[str, Any]
    objective: Reference
    latency: LatencyEntries | None
    budget: Budget
    training: FitSettings
    evaluation: EvaluationSettings
    data: PreparedData
    parts: dict[str, DataPart]
    start: str | None
    shared_columns: dict[str, Any]
    seed: int
    workers: int
    threads: int
    deterministic: bool
    evaluators: Evaluators | None = None
    early_stop: EarlyStopClient | None = None
    rate_factor: float = 1.0

    def identity(self) -> dict[str, Any]:
        """Return what decides the weights, as plain JSON."""
        decisive = self.model_dump(mode="json", include=_DECISIVE, exclude={"training": {"checkpoint_minutes"}})
        return {**decisive, "objective": self.objective.identity(), "data": self.data.identity()}

    def check_batch_size(self) -> None:
        """Raises UserError if a stream has fewer images than a batch."""
        for part in self.parts.values():
            images = self.data.count(part)
            if images < self.training.batch_size:
                kind = "validation" if part == "validation" else "training"
                raise UserError(
                    f"The step {self.name} has batches of {self.training.batch_size}, but only "
                    f"{format_count(images, f'{kind} image')}: lower training.batch_size "
                    "(fit.batch_size for stand-alone training), or raise data.fraction."
                )
