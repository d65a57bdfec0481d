"""A sweep over sample sizes and distributions: FP-NAS's search for several schedules and seeds (figures 3 and 4)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from raynas.results.evaluation_table import EvaluationTable
from raynas.study.run_plan import check_fit
from raynas.study.trainable import SweepTrial, Trainable
from raynas.training.early_stop import EarlyStop
from search_spaces import Budget
from tuners.fp_nas.method import FpNas, epochs_table
from tuners.fp_nas.sample_size import AdaptiveSampling, FixedSampling, SampleSize
from tuners.fp_nas.settings import Schedule
from tuners.sweep import SweepMethod

if TYPE_CHECKING:
    from raynas.storage.run_folder import RunFolder
    from raynas.study.run_plan import Plan
    from raynas.study.study import Study

ENTROPIES_FILE = "entropies.csv"


class ScheduleSetting(BaseModel):
    """The changes of a trial: settings of the method, and the budget of the recipe. Absent keys change nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str
    sample_size: SampleSize | None = None
    distribution: Schedule | None = None
    joint_from: int | None = Field(default=None, ge=0)
    budget: Budget | None = None


PAPER_SCHEDULES = (
    ScheduleSetting(name="FS K=14", sample_size=FixedSampling(fixed=14), distribution="joint"),
    ScheduleSetting(name="FS K=4", sample_size=FixedSampling(fixed=4), distribution="joint"),
    ScheduleSetting(name="AS 1/4, joint", sample_size=AdaptiveSampling(per_nat=0.25), distribution="joint"),
    ScheduleSetting(name="AS 1/4, mixed", sample_size=AdaptiveSampling(per_nat=0.25), distribution="mixed"),
)
"""The schedules of figures 3 and 4: fixed sampling (FS) and adaptive sampling (AS)."""


class FpNasSweep(SweepMethod, FpNas):
    """Run one trial for each schedule and seed. A search ends early once its distribution has converged.

    `schedules.csv` in the run folder has a row for each trial: architectures drawn, epochs, seconds of training,
    worker-seconds used and saved, last entropy (nats), and the one-shot accuracy and costs of the found architecture.
    `entropies.csv` has a row for each epoch of each trial.

    Attributes:
        sweep: the schedules. By default, the schedules of the paper.
        seeds: the seeds of every schedule.
        converged_nats: the entropy at which a distribution has converged.
        fit_each: also train the architecture of each trial stand-alone.
    """

    sweep_step: ClassVar[str] = "schedules"
    table_name: ClassVar[str] = "schedules.csv"

    sweep: tuple[ScheduleSetting, ...] = Field(default=PAPER_SCHEDULES, min_length=1)
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    converged_nats: float = Field(default=0.1, ge=0)
    fit_each: bool = False

    def check(self, plan: Plan) -> None:
        for setting in self.sweep:
            budget = setting.budget or plan.recipe.budget
            budget.check(plan.costs)
            self.method_of(setting).check(replace(plan, recipe=plan.recipe.changed(budget=budget)))
        if self.fit_each:
            check_fit(plan)

    def method_of(self, setting: ScheduleSetting) -> FpNas:
        """Return the search of one setting."""
        changes = setting.model_dump(exclude={"name", "budget"}, exclude_none=True)
        return FpNas.model_validate({**self.model_dump(include=set(FpNas.model_fields)), **changes})

    def trainable(self) -> Trainable:
        return ScheduledSearch()

    def early_stop(self) -> EarlyStop:
        return ConvergedEntropy(converged_nats=self.converged_nats)

    def trial_settings(self, study: Study) -> list[dict[str, Any]]:
        return [
            {
                "name": setting.name,
                "method": self.method_of(setting).model_dump(mode="json"),
                "recipe": {"seed": seed, "budget": (setting.budget or study.budget).model_dump(mode="json")},
                "fit_each": self.fit_each,
            }
            for setting in self.sweep
            for seed in self.seeds
        ]

    def table_row(self, trial: SweepTrial) -> dict[str, Any]:
        return {key: value for key, value in trial.result.items() if key != "epochs"}

    def write_details(self, study: Study, trials: list[SweepTrial]) -> None:
        epochs = [
            {"schedule": trial.result["schedule"], "seed": trial.result["seed"], **row}
            for trial in trials
            for row in trial.result["epochs"]
        ]
        study.folder.write(ENTROPIES_FILE, pd.DataFrame(epochs).to_csv(index=False).encode())


class ScheduledSearch(Trainable):
    """A trial that carries out one search with its schedule."""

    def run(self, study: Study, setting: dict[str, Any], parent: RunFolder) -> dict[str, Any]:
        method = FpNas.model_validate(setting["method"])
        weights = method.learn(study)
        architecture = method.choose(study, weights)
        epochs = epochs_table(weights, study.recipe.scale.train.workers)
        (row,) = EvaluationTable(study.folder).read("final").to_dict("records")
        columns = ("architecture", "top1", "loss", "macs", "params", "total_samples", "entropy")
        figures = {key: row[key] for key in columns}
        if setting["fit_each"]:
            figures["standalone_top1"] = study.fit("fit", architecture, study.recipe.fit).top1
        return {
            "schedule": setting["name"],
            "seed": study.recipe.seed,
            **figures,
            "search_epochs": len(epochs),
            "seconds": float(epochs["seconds"].sum()),
            "worker_seconds": float((epochs["seconds"] * epochs["workers"]).sum()),
            "worker_seconds_saved": float(epochs["worker_seconds_saved"].sum()),
            "weights_file": weights.file,
            "epochs": epochs.astype(object).where(epochs.notna(), None).to_dict("records"),
        }


class ConvergedEntropy(EarlyStop):
    """Stops a training once the entropy of its distribution, in nats, has fallen to `converged_nats`."""

    converged_nats: float

    def may_stop(self, row: dict[str, Any]) -> bool:
        return bool(row["entropy"] <= self.converged_nats)
