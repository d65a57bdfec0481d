"""HourNAS: extremely fast neural architecture search through an hourglass lens (Yang et al.), algorithm 1.

The few vital blocks lie on every path through the network. They are searched first, in the minimal supernet that has
them all. Then they are fixed to their best operations, and m space proposals are fitted to the resource targets. At
last the non-vital blocks are searched inside the proposals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from raynas.interfaces.streams import STREAMS
from raynas.results.outcome import Outcome
from raynas.study.method import Method
from search_spaces import Budget
from search_spaces.costs import PAPER_PREFIX
from search_spaces.errors import UserError, format_count
from tuners.hour_nas.settings import PathSampling
from tuners.hour_nas.vital_space import fix_vital_blocks, fixed_operations, remove_vital_skips, restrict_to_vital
from tuners.most_probable import most_probable_within

if TYPE_CHECKING:
    from raynas.storage.weights import Weights
    from raynas.study.run_plan import Plan
    from raynas.study.study import Study
    from search_spaces import Architecture, Costs, SearchSpace
    from tuners.hour_nas.sampled_path import SampledPath


class HourNas(Method, PathSampling):
    """Search the vital blocks without regard to cost, then the non-vital blocks within the targets.

    Algorithm 1 of the paper has two searches of one form. Each epoch of a search makes two passes:

        lines 1 to 10: search_vital_blocks
            line 2: restrict_to_vital gives the minimal supernet; theta_vital begins uniform
            lines 3 to 10: for each of E_vital epochs
                lines 4 to 6: a pass over training batches; sample a network and update the weights
                lines 7 to 9: a pass over validation batches; sample a network and update theta_vital
        line 11: form_vital_layers
        lines 12 to 22: search_non_vital_blocks
            line 13: proposals.fit trains the m proposals Theta; the proposal sampler pi begins uniform
            lines 14 to 21: for each of E_n-vital epochs
                lines 15 to 17: a pass over training batches; sample a network and update the weights
                lines 18 to 20: a pass over validation batches; sample a network and update pi and Theta
            line 22: take the most probable proposal and, within the targets, its most probable operations

    One call of `study.train` carries out a search. Its passes (lines 4 to 9, or 14 to 21) stand in
    `sampled_path.ProposalsLearner.passes`. Their updates are `_move_weights` and `_move_architecture`.

    Attributes:
        proposals: m, the number of space proposals.
        vital_epochs: E_vital, the epochs of the first search.
        epochs: E_n-vital, the epochs of the second search.
        vital_first: whether the first search takes place. Without it all blocks are searched at once (table 4).
    """

    paper: ClassVar[str] = "Yang et al., HourNAS: Extremely Fast Neural Architecture Search"
    spaces: ClassVar[str] = "layer-by-layer spaces with a skip in every block that has a shortcut"
    own_training: ClassVar[Mapping[str, str]] = {"epochs": "method.vital_epochs and method.epochs"}

    proposals: int = Field(default=8, ge=1)
    vital_epochs: int = Field(default=1, ge=1)
    epochs: int = Field(default=1, ge=1)
    vital_first: bool = True

    def check(self, plan: Plan) -> None:
        targets_of(plan.recipe.budget)
        without_skips = remove_vital_skips(plan.space)
        plan.recipe.budget.check(replace(plan.costs.as_table(), surviving=without_skips.surviving))

    def run(self, study: Study) -> Outcome:
        space, weights = study.space, None
        if self.vital_first:
            weights = self.search_vital_blocks(study)
            space = self.form_vital_layers(study, weights, study.budget)
        architecture, weights = self.search_non_vital_blocks(study, space, weights)
        study.say(f"found architecture: {describe_distances(study.costs, study.budget, architecture)}")
        return study.outcome("final", space, study.budget.front_resource(), weights)

    def search_vital_blocks(self, study: Study) -> Weights:
        """Train the minimal supernet and theta_vital (lines 1 to 10)."""
        objective = self.objective({})
        settings = study.recipe.training.changed(epochs=self.vital_epochs)
        return study.train("vital", restrict_to_vital(study.space), objective, settings, streams=STREAMS)

    def form_vital_layers(self, study: Study, weights: Weights, budget: Budget) -> SearchSpace:
        """Return the space with each vital block fixed to its most probable operation (line 11)."""
        (theta,) = study.learner_state(weights)["theta"]
        space = fix_vital_blocks(study.space, study.costs, budget, theta)
        study.say(f"vital blocks: {', '.join(f'{name} {option}' for name, option in fixed_operations(space).items())}")
        return space

    def search_non_vital_blocks(
        self, study: Study, space: SearchSpace, start: Weights | None
    ) -> tuple[Architecture, Weights]:
        """Search inside the proposals, and return the architecture and the supernet's weights (lines 12 to 22).

        The architecture's one-shot accuracy is the step `final`. Its row also holds the raw mode, the most probable
        architecture at any cost: its text, its costs, and the number of choices that the targets changed.
        """
        objective = self.objective(targets_of(study.budget))
        settings = study.recipe.training.changed(epochs=self.epochs)
        weights = study.train("non-vital", space, objective, settings, start, STREAMS)
        state = study.learner_state(weights)
        proposal = int(state["pi"].argmax())
        theta = state["theta"][proposal]
        architecture = most_probable_within(space, study.costs, study.budget, theta)
        raw_mode = most_probable_within(space, study.costs, Budget({}), theta)
        changed = count_changes(raw_mode, architecture)
        study.say(f"raw mode: {describe_distances(study.costs, study.budget, raw_mode)}")
        study.say(f"the targets change {changed} of {format_count(len(space.choices), 'choice')}")
        raw_costs = {f"raw_{resource}": cost.item() for resource, cost in study.costs.cost([raw_mode]).items()}
        costs = study.costs.cost([architecture]).items()
        raw_costs |= {resource: cost.item() for resource, cost in costs if resource.startswith(PAPER_PREFIX)}
        # The most probable operations are the limit of falling temperature.
        notes = {"proposal": proposal, "temperature": 0.0, "changed_choices": changed}
        study.evaluate("final", space, [architecture], weights, {**notes, "raw_mode": str(raw_mode), **raw_costs})
        return architecture, weights

    def objective(self, targets: dict[str, float]) -> SampledPath:
        """Return the objective of a search. The search of the vital blocks has no targets."""
        from tuners.hour_nas.sampled_path import SampledPath

        return SampledPath(
            targets=targets,
            proposals=self.proposals if targets else 1,
            **self.model_dump(include=set(PathSampling.model_fields)),
        )


def targets_of(budget: Budget) -> dict[str, float]:
    """Return the targets T_i of a budget by resource.

    Raises:
        UserError: if the budget is empty, or holds other limits than targets.
    """
    targets = {resource: limit.target for resource, limit in budget.root.items() if limit.target is not None}
    if not targets or len(targets) < len(budget.root):
        raise UserError(
            "HourNAS aims at targets: give each resource of the budget a target and a tolerance, such as "
            "budget.macs={target: 300M, tolerance: 0.03}."
        )
    return targets


def count_changes(raw_mode: Architecture, architecture: Architecture) -> int:
    """Return the number of choices in which two architectures of a space differ."""
    return sum(raw != found for raw, found in zip(raw_mode.indices, architecture.indices, strict=True))


def describe_distances(costs: Costs, budget: Budget, architecture: Architecture) -> str:
    """Return a sentence with the distance of an architecture from each target, in per cent."""
    exact = costs.cost([architecture])
    return ", ".join(
        f"{resource} {100 * (exact[resource].item() / target - 1):+.2f} % from its target"
        for resource, target in targets_of(budget).items()
    )
