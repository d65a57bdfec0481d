"""The jobs of Ray Tune trials: all that a trial needs, as plain JSON."""

from __future__ import annotations

from typing import Any

from raynas.evaluation.racing_evaluation import Race
from raynas.evaluation.request import Evaluators
from raynas.interfaces.costs import LatencyEntries
from raynas.recipe.settings import Settings
from raynas.storage.portable import Reference
from search_spaces.budget.budget import Budget


class TuneJob(Settings):
    """What every trial needs.

    Attributes:
        run: the run folder's URI.
        folder: the step's folder in the run folder, or the folder of the queue of trials that live on.
        attempt: the number of the driver's attempt.
    """

    run: str
    folder: str = ""
    attempt: int


class SearchJob(TuneJob):
    """A search step: one trial for each seed.

    Attributes:
        step: the step's name.
        latency: the entries of the run's latency table.
        race: the rounds of images that a generation is measured in; None if all images are measured at once.
        shared_columns: the columns that all rows of the evaluation table share.
        threads: torch threads of each trial.
        evaluators: those that all trials share.
    """

    step: str
    space: dict[str, Any]
    latency: LatencyEntries | None
    searcher: Reference
    budget: Budget
    seeds: tuple[int, ...]
    race: Race | None
    shared_columns: dict[str, Any]
    threads: int
    evaluators: Evaluators | None = None

    def identity(self) -> dict[str, Any]:
        """Return what decides the evaluations besides the oracle, as plain JSON."""
        decisive = {"step", "space", "latency", "budget", "seeds", "race", "threads"}
        return {**self.model_dump(mode="json", include=decisive), "searcher": self.searcher.identity()}
