"""How many proposals? HourNAS's second stage for several m and seeds, over one search of the vital blocks (table 1)."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field

from raynas.results.evaluation_table import EvaluationTable
from raynas.storage.weights import Weights
from raynas.study.trainable import Trainable
from search_spaces import Budget, from_specification
from tuners.hour_nas.method import HourNas, targets_of
from tuners.hour_nas.proposals import probabilities
from tuners.sweep import SweepMethod

if TYPE_CHECKING:
    from torch import Tensor

    from raynas.storage.run_folder import RunFolder
    from raynas.study.run_plan import Plan
    from raynas.study.study import Study
    from search_spaces.costs import TableCosts

TEMPERATURES = (5.0, 1.0, 0.5, 0.1)
"""Figure 3's."""
_DRAWN = 10_000


class HourNasSweep(SweepMethod, HourNas):
    """The first stage once, then the second stage as one Ray Tune run over targets, m and seeds.

    `proposals.csv` in the run folder has a row for each trial: its targets, m and seed; the one-shot accuracy and costs
    of the chosen architecture, with `fit_each` also its stand-alone accuracy on the test images; and for each
    temperature of figure 3 the share of 10,000 architectures drawn from its proposal that meet every target, and their
    mean distance from each target.

    Attributes:
        sweep: the numbers of proposals m.
        seeds: the seeds of the second stage.
        budgets: budgets of targets; by default the recipe's budget alone.
        fit_each: also train the architecture of each trial stand-alone.
    """

    sweep_step: ClassVar[str] = "proposals"
    table_name: ClassVar[str] = "proposals.csv"

    sweep: tuple[int, ...] = Field(default=(1, 2, 4, 8, 16), min_length=1)
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    budgets: tuple[Budget, ...] = ()
    fit_each: bool = False

    def check(self, plan: Plan) -> None:
        for budget in self.budgets or [plan.recipe.budget]:
            super().check(replace(plan, recipe=plan.recipe.changed(budget=budget)))

    def trainable(self) -> Trainable:
        return SecondStage()

    def trial_settings(self, study: Study) -> list[dict[str, Any]]:
        weights = self.search_vital(study)
        budgets = self.budgets or (study.budget,)
        spaces = [self.fix_vital(study, weights, budget) for budget in budgets]
        method = self.model_dump(mode="json", include=set(HourNas.model_fields) - {"proposals"})
        return [
            {
                "method": {**method, "proposals": m},
                "recipe": {"seed": seed, "budget": budget.model_dump(mode="json")},
                "space": space.specification(),
                "start": asdict(weights),
                "fit_each": self.fit_each,
            }
            for (budget, space), m, seed in product(zip(budgets, spaces, strict=True), self.sweep, self.seeds)
        ]


class SecondStage(Trainable):
    """A trial: the search of the non-vital blocks, inside m proposals."""

    def run(self, study: Study, setting: dict[str, Any], parent: RunFolder) -> dict[str, Any]:
        method = HourNas.model_validate(setting["method"])
        space = from_specification(setting["space"])
        start = study.derive_weights("vital", Weights(**setting["start"]), parent)
        chosen, weights = method.search_others(study, space, start)
        (row,) = EvaluationTable(study.folder).read("final").to_dict("records")
        columns = ("architecture", "top1", "loss", "macs", "params", "latency_ms", "proposal")
        figures = {key: row[key] for key in columns}
        if setting["fit_each"]:
            figures["standalone_top1"] = study.fit("fit", chosen, study.recipe.fit).top1
        state = study.learner_state(weights)
        theta = state["theta"][int(state["pi"].argmax())]
        drawn = drawn_costs(study.costs.as_table(), space.surviving, theta, study.budget, study.recipe.seed)
        targets = {f"{resource}_target": target for resource, target in targets_of(study.budget).items()}
        trial = {**targets, "m": method.proposals, "seed": study.recipe.seed}
        return {**trial, **figures, **drawn, "weights_file": weights.file}


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
