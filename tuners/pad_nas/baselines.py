"""The baselines of PAD-NAS, on one engine and with equal numbers of training epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from raynas.study.method import Method
from tuners.pad_nas.method import PadNas
from tuners.search_algorithms.evolution import SposEvolution
from tuners.search_algorithms.generational import GenerationalSearcher
from tuners.search_algorithms.random_search import RandomSearch

if TYPE_CHECKING:
    from raynas.results.outcome import Outcome
    from raynas.study.run_plan import Plan
    from raynas.study.study import Study


class ISupernet(PadNas):
    """PAD-NAS with M = 2: the initial supernet is trained once and searched once, without pruning (section 4.1)."""

    stages: int = Field(default=2, ge=2, le=2)
    epochs: tuple[int, ...] = (240,)
    learning_rates: tuple[float, ...] = (0.5,)


class PSupernet(PadNas):
    """PAD-NAS with M = 3: operations are pruned once (section 4.1)."""

    stages: int = Field(default=3, ge=3, le=3)
    epochs: tuple[int, ...] = (120, 120)
    learning_rates: tuple[float, ...] = (0.5, 0.1)


class TrainThenSearch(Method):
    """Train a supernet by uniform paths for `training.epochs`, then search once."""

    spaces: ClassVar[str] = "layer-by-layer spaces"

    search: GenerationalSearcher

    def check(self, plan: Plan) -> None:
        self.search.check(plan.costs)

    def run(self, study: Study) -> Outcome:
        from raynas.interfaces.objective import UniformPath  # imports torch

        weights = study.train("supernet", study.space, UniformPath(), study.recipe.training)
        study.search("final", study.space, weights, self.search)
        return study.outcome("final", study.space, self.search.cost, weights)


class Spos(TrainThenSearch):
    """Single-path one-shot NAS: search by evolution, for accuracy alone."""

    paper: ClassVar[str] = "Guo et al., Single Path One-Shot Neural Architecture Search with Uniform Sampling"

    search: SposEvolution = SposEvolution()


class Random(TrainThenSearch):
    """Random search: train the supernet of SPOS, and evaluate architectures drawn at random within the budget."""

    paper: ClassVar[str] = "Li and Talwalkar, Random Search and Reproducibility for Neural Architecture Search"

    search: RandomSearch = RandomSearch()
