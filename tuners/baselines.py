"""What PAD-NAS is measured against, on the same engine and with the same number of training epochs."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from raynas.method import Method
from raynas.objective import UniformPath
from raynas.results import Outcome
from raynas.searcher import Searcher
from raynas.study import Study
from tuners.evolution import SposEvolution
from tuners.pad_nas import PadNas
from tuners.random_search import RandomSearch


class ISupernet(PadNas):
    """PAD-NAS with M = 2: the initial supernet, trained once and searched once; nothing is pruned (section 4.1)."""

    stages: int = Field(default=2, ge=2, le=2)
    epochs: tuple[int, ...] = (240,)
    learning_rates: tuple[float, ...] = (0.5,)


class PSupernet(PadNas):
    """PAD-NAS with M = 3: operations are pruned once (section 4.1)."""

    stages: int = Field(default=3, ge=3, le=3)
    epochs: tuple[int, ...] = (120, 120)
    learning_rates: tuple[float, ...] = (0.5, 0.1)


class Spos(Method):
    """Single-path one-shot NAS: a supernet trained by uniform paths, then searched for accuracy alone.

    Attributes:
        front_cost: the resource of the Pareto front that is reported.
    """

    paper: ClassVar[str] = "Guo et al., Single Path One-Shot Neural Architecture Search with Uniform Sampling"
    spaces: ClassVar[str] = "layer-by-layer spaces"

    search: SposEvolution = SposEvolution()
    front_cost: str = "macs"

    def run(self, study: Study) -> Outcome:
        return _train_and_search(study, self.search, self.front_cost)


class Random(Method):
    """The same supernet, and as many architectures drawn at random within the budget.

    Attributes:
        front_cost: the resource of the Pareto front that is reported.
    """

    paper: ClassVar[str] = "Li and Talwalkar, Random Search and Reproducibility for Neural Architecture Search"
    spaces: ClassVar[str] = "layer-by-layer spaces"

    search: RandomSearch = RandomSearch()
    front_cost: str = "macs"

    def run(self, study: Study) -> Outcome:
        return _train_and_search(study, self.search, self.front_cost)


def _train_and_search(study: Study, searcher: Searcher, cost: str) -> Outcome:
    weights = study.train("supernet", study.space, UniformPath(), study.recipe.training)
    study.search("final", study.space, weights, searcher)
    return study.outcome("final", study.space, cost, weights)
