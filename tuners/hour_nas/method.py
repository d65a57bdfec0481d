"""HourNAS: extremely fast neural architecture search through an hourglass lens (Yang et al.), algorithm 1.

The few vital blocks, which no path through the network avoids, are searched first, in the smallest supernet that has
them all. Then the space is fixed to their best operations, m proposals are fitted that meet the resource targets from
the start, and the other blocks are searched inside the proposals.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import Field

from raynas.interfaces.objective import STREAMS
from raynas.results.outcome import Outcome
from raynas.study.method import Method, check_training_key_unset
from search_spaces.errors import UserError
from tuners.hour_nas.sampled_path import PathSampling, SampledPath
from tuners.most_probable import most_probable_within

if TYPE_CHECKING:
    from torch import Tensor

    from raynas.recipe.settings import TrainingSettings
    from raynas.storage.weights import Weights
    from raynas.study.run_plan import Plan
    from raynas.study.study import Study
    from search_spaces import Architecture, Budget, Costs, SearchSpace

_SKIP = "skip"


class HourNas(Method, PathSampling):
    """Two stages: the vital blocks without regard to cost, then the others within targets.

    Attributes:
        proposals: m, the number of space proposals.
        vital_epochs, epochs: of the first stage and of the second.
        vital_first: whether there is a first stage; without it all blocks are searched at once (table 4).
    """

    paper: ClassVar[str] = "Yang et al., HourNAS: Extremely Fast Neural Architecture Search"
    spaces: ClassVar[str] = "layer-by-layer spaces with a skip in every block that has a shortcut"

    proposals: int = Field(default=8, ge=1)
    vital_epochs: int = Field(default=1, ge=1)
    epochs: int = Field(default=1, ge=1)
    vital_first: bool = True

    def check(self, plan: Plan) -> None:
        targets_of(plan.recipe.budget)
        without_skip = vital_without_skip(plan.space)
        plan.recipe.budget.check(replace(plan.costs.as_table(), surviving=without_skip.surviving))
        check_training_key_unset(plan.recipe, "epochs", "method.vital_epochs and method.epochs")

    def run(self, study: Study) -> Outcome:
        space, weights = study.space, None
        if self.vital_first:
            weights = self.search_vital(study)
            space = self.fix_vital(study, weights, study.budget)
        chosen, weights = self.search_others(study, space, weights)
        study.say(distances(study.costs, study.budget, chosen))
        return study.outcome("final", space, _front_cost(study.budget), weights)

    def search_vital(self, study: Study) -> Weights:
        """Lines 1 to 10 of algorithm 1."""
        settings = self.training(study, self.vital_epochs)
        return study.train("vital", minimal(study.space), self.objective({}), settings, streams=STREAMS)

    def fix_vital(self, study: Study, weights: Weights, budget: Budget) -> SearchSpace:
        """Line 11 of algorithm 1."""
        space = fix_vital(study.space, study.costs, budget, study.learner_state(weights)["theta"][0])
        study.say(f"vital blocks: {', '.join(f'{name} {option}' for name, option in _only_options(space).items())}")
        return space

    def search_others(self, study: Study, space: SearchSpace, start: Weights | None) -> tuple[Architecture, Weights]:
        """Lines 12 to 22 of algorithm 1; the architecture's one-shot accuracy is the step `final`."""
        objective = self.objective(targets_of(study.budget))
        weights = study.train("non-vital", space, objective, self.training(study, self.epochs), start, STREAMS)
        learnt = study.learner_state(weights)
        proposal = int(learnt["pi"].argmax())
        chosen = most_probable_within(space, study.costs, study.budget, learnt["theta"][proposal])
        notes = {
            "proposal": proposal,
            "temperature": 0.0,
        }  # the most probable operations: the limit of falling temperature
        study.evaluate("final", space, [chosen], weights, notes)
        return chosen, weights

    def objective(self, targets: dict[str, float]) -> SampledPath:
        """What a stage trains; without targets the stage of the vital blocks."""
        return SampledPath(
            targets=targets,
            proposals=self.proposals if targets else 1,
            **self.model_dump(include=set(PathSampling.model_fields)),
        )

    def training(self, study: Study, epochs: int) -> TrainingSettings:
        """The recipe's settings for a stage of so many epochs."""
        return study.recipe.training.changed(epochs=epochs)


def targets_of(budget: Budget) -> dict[str, float]:
    """T_i: what an architecture shall cost, by resource.

    Raises:
        UserError: if the budget holds anything else than targets, or nothing.
    """
    targets = {resource: limit.target for resource, limit in budget.root.items() if limit.target is not None}
    if not targets or len(targets) < len(budget.root):
        raise UserError(
            "HourNAS aims at targets: give each resource of the budget a target and a tolerance, such as "
            "budget.macs={target: 300M, tolerance: 0.03}."
        )
    return targets


def minimal(space: SearchSpace) -> SearchSpace:
    """The space of the smallest supernet with all vital blocks: these without skip, all others with nothing else.

    Raises:
        UserError: if there is no vital block, or no other, or a block can neither be left out nor avoided.
    """
    vital = {choice.name for choice in space.vital()}
    others = [choice for choice in space.choices if choice.name not in vital]
    if not vital or not others:
        lacking = "no vital block" if not vital else "no block that is not vital"
        raise UserError(f"{space.name} has {lacking}: HourNAS searches the one and then the other.")
    kept = {}
    for choice, surviving in zip(space.choices, space.surviving, strict=True):
        options = [choice.options[option] for option in surviving]
        kept[choice.name] = [one for one in options if (one == _SKIP) != (choice.name in vital)]
        if not kept[choice.name]:
            role = "vital and only" if choice.name in vital else "not vital and cannot"
            raise UserError(f"{choice.name} of {space.name} is {role} skip: HourNAS cannot part its blocks.")
    return space.restrict(kept)


def vital_without_skip(space: SearchSpace) -> SearchSpace:
    """The space whose vital blocks all do something; raises as `minimal`."""
    vital = {choice.name for choice in space.vital()}
    return space.restrict({name: options for name, options in _options(minimal(space)).items() if name in vital})


def fix_vital(space: SearchSpace, costs: Costs, budget: Budget, theta: Tensor) -> SearchSpace:
    """Algorithm 1, line 11: the vital blocks' most probable operations, among those that leave the targets in reach.

    Args:
        theta: what the first stage has learnt, shape (choices, options).
    """
    vital = {choice.name for choice in space.vital()}
    matters = torch.tensor([choice.name in vital for choice in space.choices])
    chosen = most_probable_within(vital_without_skip(space), costs, budget, theta * matters[:, None])
    taken = {choice.name: [choice.options[index]] for choice, index in zip(space.choices, chosen.indices, strict=True)}
    return space.restrict({name: taken[name] for name in vital})


def distances(costs: Costs, budget: Budget, architecture: Architecture) -> str:
    """How far an architecture is from each target, in per cent."""
    exact = costs.cost([architecture])
    return ", ".join(
        f"{resource} {100 * (exact[resource].item() / target - 1):+.2f} % from its target"
        for resource, target in targets_of(budget).items()
    )


def _options(space: SearchSpace) -> dict[str, list[str]]:
    return {
        choice.name: [choice.options[option] for option in surviving]
        for choice, surviving in zip(space.choices, space.surviving, strict=True)
    }


def _only_options(space: SearchSpace) -> dict[str, str]:
    """What each choice is that can be one thing alone."""
    return {name: options[0] for name, options in _options(space).items() if len(options) == 1}


def _front_cost(budget: Budget) -> str:
    return next(iter(budget.root))
