"""Sweeps: methods that carry out one trainable for several settings, each as a trial of one Ray Tune run."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from raynas.recipe.recipe import Recipe
from raynas.recipe.settings import CHOSEN
from raynas.results.evaluation_table import EvaluationTable
from raynas.results.outcome import Outcome
from raynas.storage.run_folder import RunFolder
from raynas.storage.step_records import training_histories
from raynas.storage.weights import Weights
from raynas.study import run_plan
from raynas.study.method import Method, method_class, method_of_recipe
from raynas.study.sweep import sweep
from raynas.study.trainable import SweepTrial, Trainable
from search_spaces.errors import UserError

if TYPE_CHECKING:
    from raynas.study.run_plan import Plan
    from raynas.study.study import Study
    from raynas.training.early_stop import EarlyStop

# Columns that the evaluation table writes itself, and that mean nothing outside the trial.
_OWN_COLUMNS = {
    *("recipe_hash", "step", "trial", "iteration", "part", "weights_version", "seed", "seconds", "reproducible"),
}


class SweepMethod(Method):
    """The base of all sweeps. The result of a trial has `top1`, and `weights_file` in the trial's run folder.

    Attributes:
        sweep_step: the name of the step; its rows are the last rows of the trials.
        table_name: the file in the run folder with one row for each trial.
    """

    sweep_step: ClassVar[str]
    table_name: ClassVar[str]

    @abstractmethod
    def trainable(self) -> Trainable:
        """Return the work of a trial."""

    @abstractmethod
    def trial_settings(self, study: Study) -> list[dict[str, Any]]:
        """Return one setting for each trial."""

    def early_stop(self) -> EarlyStop | None:
        """Return the rule by which trainings inside the trials may stop early."""
        return None

    def table_row(self, trial: SweepTrial) -> dict[str, Any]:
        """Return the trial's row of the table."""
        return trial.result

    def write_details(self, study: Study, trials: list[SweepTrial]) -> None:
        """Write further tables into the run folder."""

    def run(self, study: Study) -> Outcome:
        trials = sweep(study, self.sweep_step, self.trainable(), self.trial_settings(study), self.early_stop())
        table = pd.DataFrame([self.table_row(trial) for trial in trials])
        study.folder.write(self.table_name, table.to_csv(index=False).encode())
        self.write_details(study, trials)
        best = trials[int(table["top1"].argmax())]
        weights = Weights(f"{best.folder}/{best.result['weights_file']}", self.sweep_step, [])
        return study.outcome(self.sweep_step, study.space, study.budget.front_resource(), weights)


class Setting(BaseModel):
    """The changes of a trial, by the paths of `--set`. A path under `method.` changes the swept method."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str
    set: Mapping[str, Any] = {}


class Sweep(SweepMethod):
    """Run another method with every setting and every seed, each trial in a run folder inside this run folder.

    `sweep.csv` in the run folder has a row for each trial: the setting, the seed, the best architecture of the trial's
    last step with all columns of the method, the seconds of its trainings, and the trial's folder.

    Attributes:
        of: the method, with its name and settings.
        settings: the changes of the trials.
        seeds: the seeds of every setting.
        fit_each: also train the best network of each trial stand-alone, unless the method does. Its accuracy on the
            test images is `standalone_top1`, in per cent.
    """

    paper: ClassVar[str] = "no paper: several runs of another method, for instance over seeds"
    spaces: ClassVar[str] = "the spaces of the other method"
    sweep_step: ClassVar[str] = "sweep"
    table_name: ClassVar[str] = "sweep.csv"

    of: dict[str, Any]
    settings: tuple[Setting, ...] = Field(default=(Setting(name="unchanged"),), min_length=1)
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    fit_each: bool = False

    def training_to_choose(self) -> Collection[str]:
        own = method_class(str(self.of.get("name"))).own_training.keys()
        return {key for key in CHOSEN if any(f"training.{key}" not in setting.set for setting in self.settings)} - own

    def check(self, plan: Plan) -> None:
        names = [setting.name for setting in self.settings]
        if len(set(names)) < len(names):
            raise UserError(f"Two settings of the sweep have the same name: {', '.join(names)}. Rename one.")
        for setting in self.settings:
            recipe = self.recipe_of(setting, plan.recipe, plan.recipe.seed)
            planned = run_plan.plan(recipe)
            method_of_recipe(recipe).check(planned)
            if self.fit_each:
                run_plan.check_fit(planned)

    def recipe_of(self, setting: Setting, recipe: Recipe, seed: int) -> Recipe:
        """Return the recipe of one trial.

        Raises:
            UserError: if a path of the setting is not a path of a recipe.
        """
        changes = [f"{path}={json.dumps(value)}" for path, value in setting.set.items()]
        return Recipe.read({**recipe.json_value(), "method": self.of, "seed": seed}, changes)

    def trainable(self) -> Trainable:
        return WholeRun()

    def trial_settings(self, study: Study) -> list[dict[str, Any]]:
        recipe = study.recipe.json_value()
        settings = []
        for setting in self.settings:
            for seed in self.seeds:
                trial_recipe = self.recipe_of(setting, study.recipe, seed).json_value()
                changed = {key: value for key, value in trial_recipe.items() if value != recipe[key]}
                name = {"name": setting.name, "seed": seed}
                settings.append({**name, "recipe": changed, "fit_each": self.fit_each})
        return settings

    def table_row(self, trial: SweepTrial) -> dict[str, Any]:
        name = {"setting": trial.setting["name"], "seed": trial.setting["seed"]}
        return {**name, **trial.result, "folder": trial.folder}


class WholeRun(Trainable):
    """A trial that carries out the recipe's method as `raynas run` does."""

    def run(self, study: Study, setting: dict[str, Any], parent: RunFolder) -> dict[str, Any]:
        outcome = method_of_recipe(study.recipe).run(study)
        outcome.write()
        table = EvaluationTable(study.folder).read(outcome.final)
        row = table[table["architecture"] == outcome.best["architecture"]].iloc[0].dropna().to_dict()
        result = {
            str(key): getattr(value, "item", lambda value=value: value)()
            for key, value in row.items()
            if key not in _OWN_COLUMNS
        }
        if outcome.is_tested:
            result["standalone_top1"] = result["top1"]
        elif setting["fit_each"]:
            architecture = study.space.parse(result["architecture"])
            result["standalone_top1"] = study.fit("fit", architecture, study.recipe.fit).top1
        seconds = sum(row["seconds"] for rows in training_histories(study.folder).values() for row in rows)
        return {**result, "training_seconds": float(seconds), "weights_file": outcome.weights}
