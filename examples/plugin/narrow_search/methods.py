"""A method: train one supernet, then ask fewer and fewer architectures, on more and more of its training."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from raynas.interfaces.objective import UniformPath
from raynas.study.method import Method
from search_spaces.errors import UserError

if TYPE_CHECKING:
    from raynas.results.outcome import Outcome
    from raynas.study.study import Study


class Halving(Method):
    """Architectures drawn within the budget; after each round of training the better half goes on.

    Attributes:
        architectures: how many are drawn.
        rounds: of training; each halves the architectures.
    """

    paper: ClassVar[str] = "an example of a plug-in"
    spaces: ClassVar[str] = "all"

    architectures: int = Field(default=16, ge=2)
    rounds: int = Field(default=3, ge=1)

    def run(self, study: Study) -> Outcome:
        generator = np.random.default_rng(study.seed_of("draw"))
        drawn = list(dict.fromkeys(study.space.sample(generator) for _ in range(100 * self.architectures)))
        within = study.budget.met(study.costs.cost(drawn)).tolist()
        left = [one for one, meets in zip(drawn, within, strict=True) if meets][: self.architectures]
        if not left:
            raise UserError("None of the architectures that were drawn meets the budget: widen it.")
        weights = None
        for round_number in range(1, self.rounds + 1):
            weights = study.train(f"round-{round_number}", study.space, UniformPath(), study.recipe.training, weights)
            found = study.evaluate(f"asked-{round_number}", study.space, left, weights)
            order = found.table["top1"].to_numpy().argsort(kind="stable")[::-1]
            left = [left[place] for place in order[: max(1, len(left) // 2)]]
            study.say(f"{len(left)} of {self.architectures} architectures are left")
        assert weights is not None
        return study.outcome(f"asked-{self.rounds}", study.space, "macs", weights)
