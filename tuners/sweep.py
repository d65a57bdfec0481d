"""A method for several settings and seeds: every run of it is a trial of one Ray Tune run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from raynas.recipe.recipe import Recipe
from raynas.results.outcome import EvaluationTable, Outcome
from raynas.storage.run_folder import RunFolder
from raynas.storage.weights import Weights
from raynas.study import run_plan
from raynas.study.method import Method, of_recipe
from search_spaces.errors import UserError

if TYPE_CHECKING:
    from raynas.study.run_plan import Plan
    from raynas.study.study import Study

TABLE = "sweep.csv"


class Setting(BaseModel):
    """What a trial changes, by the paths that `--set` takes; `method.` is the swept method's."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str
    set: Mapping[str, Any] = {}


class Sweep(Method):
    """Every setting with every seed, each in a run folder of its own within this one.

    The run folder's `sweep.csv` has a row a trial: the setting, the seed, the best of the trial's last step with all
    columns that the method gives it, the seconds of its trainings, and the trial's folder.

    Attributes:
        of: the method that is swept, with its name and settings.
        settings: the trials' changes, by name.
        seeds: with each of which every setting is run.
        fit_each: train what each trial has found alone, too, unless the method has (`standalone_top1`, in per cent of
            the test images).
    """

    paper: ClassVar[str] = "no paper's: several runs of another method, such as over seeds"
    spaces: ClassVar[str] = "those of the method that is swept"

    of: dict[str, Any]
    settings: tuple[Setting, ...] = Field(default=(Setting(name="as it is"),), min_length=1)
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    fit_each: bool = False

    def check(self, plan: Plan) -> None:
        names = [setting.name for setting in self.settings]
        if len(set(names)) < len(names):
            raise UserError(f"Two settings of the sweep have one name: {', '.join(names)}.")
        for setting in self.settings:
            recipe = self.recipe_of(setting, plan.recipe, plan.recipe.seed)
            of_recipe(recipe).check(run_plan.plan(recipe))

    def recipe_of(self, setting: Setting, recipe: Recipe, seed: int) -> Recipe:
        """The recipe of one trial.

        Raises:
            UserError: if a path of the setting is none of a recipe's.
        """
        changes = [f"{path}={json.dumps(value)}" for path, value in setting.set.items()]
        return Recipe.read({**recipe.json_value(), "method": self.of, "seed": seed}, changes)

    def run(self, study: Study) -> Outcome:
        pairs = [(setting, seed) for setting in self.settings for seed in self.seeds]
        whole = study.recipe.json_value()
        settings = []
        for setting, seed in pairs:
            own = self.recipe_of(setting, study.recipe, seed).json_value()
            changed = {key: value for key, value in own.items() if value != whole[key]}
            settings.append({"name": setting.name, "recipe": changed, "fit_each": self.fit_each})
        trials = study.sweep("sweep", "tuners.sweep:one_run", settings)
        rows = [
            {"setting": setting.name, "seed": seed, **trial.result, "folder": trial.folder}
            for (setting, seed), trial in zip(pairs, trials, strict=True)
        ]
        table = pd.DataFrame(rows)
        study.folder.write(TABLE, table.to_csv(index=False).encode())
        best = rows[int(table["top1"].argmax())]
        weights = Weights(f"{best['folder']}/{best['weights_file']}", best["setting"], [])
        return study.outcome("sweep", study.space, "macs", weights)


def one_run(study: Study, setting: dict[str, Any], run: RunFolder) -> dict[str, Any]:
    """One trial: the method's own run, as `raynas run` has it."""
    outcome = of_recipe(study.recipe).run(study)
    outcome.write()
    table = EvaluationTable(study.folder).read(outcome.final)
    row = table[table["architecture"] == outcome.best["architecture"]].iloc[0].dropna().to_dict()
    told = {str(key): getattr(value, "item", lambda value=value: value)() for key, value in row.items()}
    for key in ("study", "step", "trial", "iteration", "weights", "seed", "seconds", "reproducible"):
        told.pop(key, None)
    if outcome.is_tested:
        told["standalone_top1"] = told["top1"]
    elif setting["fit_each"]:
        told["standalone_top1"] = study.fit("fit", study.space.parse(told["architecture"]), study.recipe.fit).top1
    return {**told, "training_seconds": _training_seconds(study.folder), "weights_file": outcome.weights}


def _training_seconds(folder: RunFolder) -> float:
    """How long all epochs of a run's trainings took."""
    histories = [f"steps/{step}/history.json" for step in folder.names("steps")]
    epochs = [row for name in histories if folder.exists(name) for row in folder.read_json(name)["epochs"]]
    return float(sum(row["seconds"] for row in epochs))
