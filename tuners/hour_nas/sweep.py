"""How many proposals? HourNAS's second stage for several m and seeds, over one search of the vital blocks (table 1)."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from pydantic import Field

from raynas.results.outcome import EvaluationTable, Outcome
from raynas.storage.weights import Weights
from search_spaces import Budget, from_specification
from tuners.hour_nas.method import HourNas, targets_of
from tuners.hour_nas.proposals import probabilities

if TYPE_CHECKING:
    from torch import Tensor

    from raynas.storage.run_folder import RunFolder
    from raynas.study.run_plan import Plan
    from raynas.study.study import Study
    from search_spaces.costs import TableCosts

TABLE = "proposals.csv"
TEMPERATURES = (5.0, 1.0, 0.5, 0.1)
"""Figure 3's."""
_DRAWN = 10_000


class HourNasSweep(HourNas):
    """The first stage once, then the second as one Ray Tune run over targets, m and seeds.

    The run folder's `proposals.csv` has a row a trial: its targets, m, seed, the architecture's one-shot accuracy,
    costs and, with `fit_each`, its accuracy on the test images when it is trained alone; and, for each temperature of
    figure 3, the share of 10,000 architectures drawn from its proposal that meet every target, and their mean distance
    from each.

    Attributes:
        sweep: the numbers of proposals m.
        seeds: of the second stage.
        budgets: of targets; the recipe's own where none are given.
        fit_each: train each trial's architecture alone, too.
    """

    sweep: tuple[int, ...] = Field(default=(1, 2, 4, 8, 16), min_length=1)
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    budgets: tuple[Budget, ...] = ()
    fit_each: bool = False

    def check(self, plan: Plan) -> None:
        for budget in self.budgets or [plan.recipe.budget]:
            super().check(replace(plan, recipe=plan.recipe.model_copy(update={"budget": budget})))

    def run(self, study: Study) -> Outcome:
        weights = self.search_vital(study)
        budgets = self.budgets or (study.budget,)
        spaces = [self.fix_vital(study, weights, budget) for budget in budgets]
        method = self.model_dump(mode="json", include=set(HourNas.model_fields) - {"proposals"})
        settings = [
            {
                "method": {**method, "proposals": m},
                "recipe": {"seed": seed, "budget": budget.model_dump(mode="json")},
                "space": space.specification(),
                "start": asdict(weights),
                "fit_each": self.fit_each,
            }
            for (budget, space), m, seed in product(zip(budgets, spaces, strict=True), self.sweep, self.seeds)
        ]
        trials = study.sweep("proposals", "tuners.hour_nas.sweep:second_stage", settings)
        table = pd.DataFrame([trial.result for trial in trials])
        study.folder.write(TABLE, table.to_csv(index=False).encode())
        best = trials[int(table["top1"].argmax())]
        weights = replace(weights, file=f"{best.folder}/{best.result['weights']}")
        return study.outcome("proposals", study.space, next(iter(budgets[0].root)), weights)


def second_stage(study: Study, setting: dict[str, Any], run: RunFolder) -> dict[str, Any]:
    """One trial: the non-vital blocks, inside m proposals."""
    method = HourNas.model_validate(setting["method"])
    space = from_specification(setting["space"])
    start = study.keep("vital", Weights(**setting["start"]), run)
    chosen, weights = method.search_others(study, space, start)
    (row,) = EvaluationTable(study.folder).read("final").to_dict("records")
    told = {key: row[key] for key in ("architecture", "top1", "loss", "macs", "params", "latency_ms", "proposal")}
    if setting["fit_each"]:
        told["standalone_top1"] = study.fit("fit", chosen, study.recipe.fit).top1
    learnt = study.learnt(weights)
    theta = learnt["theta"][int(learnt["pi"].argmax())]
    drawn = drawn_costs(study.costs.as_table(), space.surviving, theta, study.budget, study.recipe.seed)
    targets = {f"{resource}_target": target for resource, target in targets_of(study.budget).items()}
    return {**targets, "m": method.proposals, "seed": study.recipe.seed, **told, **drawn, "weights": weights.file}


def drawn_costs(
    costs: TableCosts, surviving: tuple[tuple[int, ...], ...], theta: Tensor, budget: Budget, seed: int
) -> dict[str, float]:
    """How near architectures drawn from a proposal come to the targets, at each temperature of figure 3.

    Returns:
        `met_5.0`, ..., the share within every tolerance, and `macs_off_5.0`, ..., the mean of |R_i(A) - T_i| / T_i.
    """
    table = replace(costs, surviving=surviving)
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for temperature in TEMPERATURES:
        distribution = probabilities(theta.double(), temperature, table.kept)
        indices = torch.multinomial(distribution, _DRAWN, replacement=True, generator=generator).T
        cost = table.total(indices)
        found[f"met_{temperature}"] = float(budget.met(cost).double().mean())
        for resource, target in targets_of(budget).items():
            found[f"{resource}_off_{temperature}"] = float((cost[resource] / target - 1).abs().mean())
    return found
