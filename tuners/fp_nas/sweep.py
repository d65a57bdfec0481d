"""How many samples, of which distribution? FP-NAS's search for several schedules as one Ray Tune run (figures 3, 4)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from raynas.results.outcome import EvaluationTable, Outcome
from raynas.storage.weights import Weights
from search_spaces import Budget
from tuners.fp_nas.drawn_paths import Schedule
from tuners.fp_nas.method import FpNas, epochs_of
from tuners.fp_nas.sample_count import EntropySamples, FixedSamples, Samples

if TYPE_CHECKING:
    from raynas.storage.run_folder import RunFolder
    from raynas.study.run_plan import Plan
    from raynas.study.study import Study

TABLE, ENTROPIES = "schedules.csv", "entropies.csv"


class Setting(BaseModel):
    """What a trial changes: settings of the method and the budget of the recipe; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str
    samples: Samples | None = None
    distribution: Schedule | None = None
    joint_from: int | None = Field(default=None, ge=0)
    budget: Budget | None = None


PAPER = (
    Setting(name="FS K=14", samples=FixedSamples(count=14), distribution="joint"),
    Setting(name="FS K=4", samples=FixedSamples(count=4), distribution="joint"),
    Setting(name="AS 1/4, joint", samples=EntropySamples(per_nat=0.25), distribution="joint"),
    Setting(name="AS 1/4, mixed", samples=EntropySamples(per_nat=0.25), distribution="mixed"),
)
"""Figures 3 and 4."""


class FpNasSweep(FpNas):
    """One trial a schedule and seed; each is a search of its own, which ends early once its entropy is low enough.

    The run folder's `schedules.csv` has a row a trial: architectures drawn, epochs, seconds of training, worker-seconds
    taken and saved, last entropy (nats), and the one-shot accuracy and costs of what it found. `entropies.csv` has a
    row an epoch of each trial.

    Attributes:
        sweep: the schedules; by default the paper's.
        seeds: with each of which every schedule is searched.
        converged_nats: a distribution of no more entropy has converged.
        fit_each: train each trial's architecture alone, too.
    """

    sweep: tuple[Setting, ...] = Field(default=PAPER, min_length=1)
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    converged_nats: float = Field(default=0.1, ge=0)
    fit_each: bool = False

    def check(self, plan: Plan) -> None:
        for setting in self.sweep:
            budget = setting.budget or plan.recipe.budget
            budget.check(plan.costs)
            self.method_of(setting).check(replace(plan, recipe=plan.recipe.model_copy(update={"budget": budget})))

    def method_of(self, setting: Setting) -> FpNas:
        """The search of one setting."""
        changes = setting.model_dump(exclude={"name", "budget"}, exclude_none=True)
        return FpNas.model_validate({**self.model_dump(include=set(FpNas.model_fields)), **changes})

    def run(self, study: Study) -> Outcome:
        settings = [
            {
                "name": setting.name,
                "method": self.method_of(setting).model_dump(mode="json"),
                "recipe": {"seed": seed, "budget": (setting.budget or study.budget).model_dump(mode="json")},
                "fit_each": self.fit_each,
            }
            for setting in self.sweep
            for seed in self.seeds
        ]
        scheduler = {"path": "tuners.fp_nas.entropy_scheduler:EntropyScheduler", "converged_nats": self.converged_nats}
        trials = study.sweep("schedules", "tuners.fp_nas.sweep:one_search", settings, scheduler=scheduler)
        results = [{key: value for key, value in trial.result.items() if key != "epochs"} for trial in trials]
        table = pd.DataFrame(results)
        study.folder.write(TABLE, table.to_csv(index=False).encode())
        epochs = [
            {"schedule": trial.result["schedule"], "seed": trial.result["seed"], **row}
            for trial in trials
            for row in trial.result["epochs"]
        ]
        study.folder.write(ENTROPIES, pd.DataFrame(epochs).to_csv(index=False).encode())
        best = trials[int(table["top1"].argmax())]
        weights = Weights(f"{best.folder}/{best.result['weights']}", best.result["schedule"], [])
        return study.outcome("schedules", study.space, next(iter(study.budget.root), "macs"), weights)


def one_search(study: Study, setting: dict[str, Any], run: RunFolder) -> dict[str, Any]:
    """One trial: a search with its schedule."""
    method = FpNas.model_validate(setting["method"])
    weights = method.learn(study)
    chosen = method.choose(study, weights)
    epochs = epochs_of(weights, study.recipe.scale.train_workers)
    (row,) = EvaluationTable(study.folder).read("final").to_dict("records")
    told = {key: row[key] for key in ("architecture", "top1", "loss", "macs", "params", "drawn", "entropy")}
    if setting["fit_each"]:
        told["standalone_top1"] = study.fit("fit", chosen, study.recipe.fit).top1
    return {
        "schedule": setting["name"],
        "seed": study.recipe.seed,
        **told,
        "search_epochs": len(epochs),
        "seconds": float(epochs["seconds"].sum()),
        "worker_seconds": float((epochs["seconds"] * epochs["workers"]).sum()),
        "worker_seconds_saved": float(epochs["worker_seconds_saved"].sum()),
        "weights": weights.file,
        "epochs": epochs.astype(object).where(epochs.notna(), None).to_dict("records"),
    }
