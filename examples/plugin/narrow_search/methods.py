"""A method that trains one supernet in rounds, and keeps the better half of its architectures after each round."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from raynas.plugin import Method, Outcome, Study, UniformPath, UserError


class Halving(Method):
    """Draw architectures within the budget, and after each round of training keep the better half.

    Attributes:
        architectures: the number of architectures in the first round.
        rounds: the number of rounds; each round trains the supernet for the epochs of `training`.
    """

    paper: ClassVar[str] = "an example of a plug-in"
    spaces: ClassVar[str] = "all"

    architectures: int = Field(default=16, ge=2)
    rounds: int = Field(default=3, ge=1)

    def run(self, study: Study) -> Outcome:
        generator = np.random.default_rng(study.seed_of("draw"))
        drawn = list(dict.fromkeys(study.space.sample(generator) for _ in range(100 * self.architectures)))
        feasible = study.budget.met(study.costs.cost(drawn)).tolist()
        remaining = [architecture for architecture, meets in zip(drawn, feasible, strict=True) if meets]
        remaining = remaining[: self.architectures]
        if not remaining:
            raise UserError(f"None of {len(drawn)} drawn architectures meets the budget: widen the budget.")
        weights = None
        for number in range(1, self.rounds + 1):
            weights = study.train(f"round-{number}", study.space, UniformPath(), study.recipe.training, weights)
            result = study.evaluate(f"asked-{number}", study.space, remaining, weights)
            by_accuracy = result.table["top1"].to_numpy().argsort(kind="stable")[::-1]
            remaining = [remaining[place] for place in by_accuracy[: max(1, len(remaining) // 2)]]
            study.say(f"{len(remaining)} of {self.architectures} architectures remain")
        assert weights is not None
        return study.outcome(f"asked-{self.rounds}", study.space, "macs", weights)
