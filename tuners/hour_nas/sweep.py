"""A sweep over the number of proposals m: HourNAS's second search for several m, targets and seeds (table 1)."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from raynas.results.evaluation_table import EvaluationTable
from raynas.storage.weights import Weights
from raynas.study.run_plan import check_fit
from raynas.study.trainable import Trainable
from search_spaces import Budget, from_specification
from search_spaces.costs import PAPER_PREFIX
from tuners.hour_nas.method import HourNas, targets_of
from tuners.sweep import SweepMethod

if TYPE_CHECKING:
    from torch import Tensor

    from raynas.storage.run_folder import RunFolder
    from raynas.study.run_plan import Plan
    from raynas.study.study import Study
    from search_spaces.costs import TableCosts

TEMPERATURES = (5.0, 1.0, 0.5, 0.1)
"""The temperatures of figure 3."""
_DRAWS = 10_000
"""The number of drawn architectures of figure 3."""


class HourNasSweep(SweepMethod, HourNas):
    """Search the vital blocks once; then run the second search as one Ray Tune run over targets, m and seeds.

    `proposals.csv` in the run folder has a row for each trial:

    - the targets, m and the seed;
    - the one-shot accuracy and costs of the found architecture, and with `fit_each` its stand-alone accuracy on the
      test images;
    - the raw mode with its costs, and how many choices the targets changed (`HourNas.search_non_vital_blocks`);
    - for each temperature of figure 3, statistics of 10,000 architectures drawn from the found proposal: the share
      that meets every target (`met_5.0`), and the mean distance from each target (`macs_off_5.0`).

    Attributes:
        sweep: the numbers of proposals m.
        seeds: the seeds of the second search.
        budgets: budgets of targets. By default, the recipe's budget alone.
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
        if self.fit_each:
            check_fit(plan)

    def trainable(self) -> Trainable:
        return NonVitalSearch()

    def trial_settings(self, study: Study) -> list[dict[str, Any]]:
        weights = self.search_vital_blocks(study)
        budgets = self.budgets or (study.budget,)
        spaces = [self.form_vital_layers(study, weights, budget) for budget in budgets]
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


class NonVitalSearch(Trainable):
    """A trial that searches the non-vital blocks inside m proposals."""

    def run(self, study: Study, setting: dict[str, Any], parent: RunFolder) -> dict[str, Any]:
        method = HourNas.model_validate(setting["method"])
        space = from_specification(setting["space"])
        start = study.derive_weights("vital", Weights(**setting["start"]), parent)
        architecture, weights = method.search_non_vital_blocks(study, space, start)
        (row,) = EvaluationTable(study.folder).read("final").to_dict("records")
        columns = ["architecture", "top1", "loss", "macs", "params", "latency_ms", "proposal", "changed_choices"]
        columns += ["raw_mode", *(f"raw_{resource}" for resource in study.costs.resources)]
        columns += [resource for resource in study.costs.resources if resource.startswith(PAPER_PREFIX)]
        figures = {key: row[key] for key in columns}
        if setting["fit_each"]:
            figures["standalone_top1"] = study.fit("fit", architecture, study.recipe.fit).top1
        state = study.learner_state(weights)
        theta = state["theta"][int(state["pi"].argmax())]
        drawn = measure_drawn_costs(study.costs.as_table(), space.surviving, theta, study.budget, study.recipe.seed)
        targets = {f"{resource}_target": target for resource, target in targets_of(study.budget).items()}
        trial = {**targets, "m": method.proposals, "seed": study.recipe.seed}
        return {**trial, **figures, **drawn, "weights_file": weights.file}


def measure_drawn_costs(
    costs: TableCosts, surviving: tuple[tuple[int, ...], ...], theta: Tensor, budget: Budget, seed: int
) -> dict[str, float]:
    """Measure how near architectures drawn from a proposal come to the targets, at each temperature of figure 3.

    Returns:
        `met_5.0`, ...: the share within every tolerance; `macs_off_5.0`, ...: the mean of |R_i(A) - T_i| / T_i.
    """
    import torch

    from tuners.gumbel_softmax import probabilities

    table = replace(costs, surviving=surviving)
    generator = torch.Generator().manual_seed(seed)
    measures = {}
    for temperature in TEMPERATURES:
        distribution = probabilities(theta.double(), temperature, torch.from_numpy(table.kept))
        indices = torch.multinomial(distribution, _DRAWS, replacement=True, generator=generator).T
        cost = table.total(indices.numpy())
        measures[f"met_{temperature}"] = float(budget.met(cost).mean())
        for resource, target in targets_of(budget).items():
            off = torch.from_numpy(cost[resource]) / target - 1
            measures[f"{resource}_off_{temperature}"] = float(off.abs().mean())
    return measures
