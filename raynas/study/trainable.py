"""A trainable, the work of a sweep's trials; and the job of a sweep."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from raynas.search_trials.job import TuneJob
from raynas.storage.portable import Portable, Reference
from raynas.storage.run_folder import RunFolder, digest

if TYPE_CHECKING:
    from raynas.study.study import Study


class Trainable(Portable):
    """The work of a sweep's trials."""

    @abstractmethod
    def run(self, study: Study, setting: dict[str, Any], parent: RunFolder) -> dict[str, Any]:
        """Carry out one trial.

        Args:
            study: the trial's own.
            setting: the trial's setting.
            parent: the folder of the run that sweeps.

        Returns:
            The trial's result as plain JSON.
        """


@dataclass(frozen=True)
class SweepTrial:
    """One finished trial: its setting, its result, and its run folder inside the run folder of the sweep."""

    setting: Mapping[str, Any]
    result: dict[str, Any]
    folder: str


class SweepJob(TuneJob):
    """A sweep.

    Attributes:
        recipe: the run's recipe. The entry `recipe` of a setting replaces keys of it in the setting's trial.
        settings: one setting for each trial.
        early_stop: the rule by which trainings inside the trials may stop early.
    """

    recipe: dict[str, Any]
    trainable: Reference
    settings: tuple[dict[str, Any], ...]
    early_stop: Reference | None

    @property
    def decisions_actor(self) -> str:
        """The name of the actor that holds the early-stop decisions."""
        return f"early-stop-{digest([self.run, self.folder, self.attempt])[:12]}"
