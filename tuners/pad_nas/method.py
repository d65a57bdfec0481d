"""PAD-NAS: progressive automatic design of the search space for one-shot NAS (Xia et al.), algorithm 1.

A single-path supernet is trained, and searched by constrained NSGA-II. Operations that the first nine non-dominated
fronts hardly use are pruned layer by layer. The pruned supernet inherits its weights and is tuned. After M - 2
such stages the last supernet is searched, and the most accurate architectures are returned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator

from raynas.results.evaluation_table import SearchResult
from raynas.results.outcome import Outcome
from raynas.results.pareto import non_domination_ranks
from raynas.study.method import Method
from search_spaces.errors import UserError, format_count
from tuners.pad_nas.pruning import operation_frequencies, prune
from tuners.search_algorithms.nsga2 import ConstrainedNsga2

if TYPE_CHECKING:
    from raynas.recipe.settings import TrainingSettings
    from raynas.study.run_plan import Plan
    from raynas.study.study import Study
    from search_spaces import SearchSpace


class PadNas(Method):
    """Train, then M - 2 times search, prune and tune, then search (algorithm 1, with M stages).

    Attributes:
        stages: M.
        epochs: the epochs of the initial training and of each tuning, M - 1 in all.
        learning_rates: the learning rates of these trainings.
        prune_below: P_th. An operation is pruned if its share of the searched architectures is at most P_th.
        below_rank: only architectures with a non-domination rank below this number are counted.
    """

    paper: ClassVar[str] = "Xia et al., Progressive Automatic Design of Search Space for One-Shot NAS"
    spaces: ClassVar[str] = "layer-by-layer spaces"
    own_training: ClassVar[Mapping[str, str]] = {"epochs": "method.epochs", "learning_rate": "method.learning_rates"}

    stages: int = Field(default=4, ge=2)
    epochs: tuple[int, ...] = (120, 80, 40)
    learning_rates: tuple[float, ...] = (0.5, 0.1, 0.1)
    prune_below: float = Field(default=0.01, ge=0, lt=1)
    below_rank: int = Field(default=10, ge=2)
    search: ConstrainedNsga2 = ConstrainedNsga2()

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        if not len(self.epochs) == len(self.learning_rates) == self.stages - 1:
            raise ValueError(
                f"{format_count(self.stages, 'stage')} need {format_count(self.stages - 1, 'value')} of epochs "
                "and of learning_rates, "
                f"not {len(self.epochs)} and {len(self.learning_rates)}"
            )
        return self

    def check(self, plan: Plan) -> None:
        self.search.check(plan.costs)

    def run(self, study: Study) -> Outcome:
        from raynas.interfaces.objective import UniformPath  # imports torch

        space = study.space
        weights = study.train("supernet", space, UniformPath(), self._training(study, 1))
        for stage in range(2, self.stages):
            result = study.search(f"search-{stage}", space, weights, self.search)
            space = self._prune_operations(study, space, result)
            weights = study.train(f"supernet-{stage}", space, UniformPath(), self._training(study, stage), weights)
        result = study.search("final", space, weights, self.search)
        study.say(
            f"best one-shot accuracy {result.table['top1'].max():.2f} % among 10^{log10_size(space):.1f} architectures"
        )
        return study.outcome("final", space, self.search.cost, weights)

    def _training(self, study: Study, stage: int) -> TrainingSettings:
        """Return the settings of a stage's training; stages are counted from 1."""
        changes = {"epochs": self.epochs[stage - 1], "learning_rate": self.learning_rates[stage - 1]}
        return study.recipe.training.changed(**changes)

    def _prune_operations(self, study: Study, space: SearchSpace, result: SearchResult) -> SearchSpace:
        """Return the space without operations that the searched architectures hardly use (lines 4 to 7)."""
        ranks = non_domination_ranks(result.table["top1"], result.table[self.search.cost])
        frequencies = operation_frequencies(space, result.architectures, ranks, self.below_rank)
        pruned = prune(space, frequencies, self.prune_below)
        try:
            study.budget.check(study.costs_within(pruned))
        except UserError as error:
            raise UserError(
                f"Pruning operations of at most {100 * self.prune_below:g} % leaves no architecture within the budget: "
                "lower method.prune_below, or widen the budget."
            ) from error
        study.say(
            f"best one-shot accuracy {result.table['top1'].max():.2f} %; "
            f"pruned {count_operations(space) - count_operations(pruned)} of {count_operations(space)} operations: "
            f"10^{log10_size(space):.1f} architectures became 10^{log10_size(pruned):.1f}"
        )
        return pruned


def count_operations(space: SearchSpace) -> int:
    """Count the surviving operations of all choices."""
    return sum(len(options) for options in space.surviving)


def log10_size(space: SearchSpace) -> float:
    """Return the decimal logarithm of the number of architectures in a space."""
    return math.log10(space.size())
