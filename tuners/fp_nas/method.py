"""FP-NAS: fast probabilistic neural architecture search (Yan et al.), sections 3.2 to 3.4.

After a warm-up of the weights each step draws K architectures from a distribution that is learnt; K falls with the
distribution's entropy. The distribution is factorised first, which is coarse and fast, and joint later. In the end its
most probable architecture is taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from pydantic import Field

from raynas.interfaces.objective import STREAMS
from raynas.results.outcome import Outcome
from raynas.study.method import Method, check_training_key_unset
from search_spaces.errors import UserError
from tuners.fp_nas.distribution import factors_of
from tuners.fp_nas.drawn_paths import Drawing, DrawnPaths, Schedule
from tuners.fp_nas.most_probable import most_probable_of_factors
from tuners.fp_nas.sample_count import FixedSamples, Samples

if TYPE_CHECKING:
    from raynas.storage.weights import Weights
    from raynas.study.run_plan import Plan
    from raynas.study.study import Study
    from search_spaces import Architecture, Budget

EPOCHS = "epochs.csv"


class FpNas(Method, Drawing):
    """A distribution over architectures and the weights of a supernet, learnt together.

    The run folder's `epochs.csv` has a row an epoch: the mean loss, accuracy, entropy (nats) and K of its steps, the
    workers, the seconds, and the worker-seconds that were given back.

    Attributes:
        epochs: of the whole search, the warm-up's among them.
    """

    paper: ClassVar[str] = "Yan et al., FP-NAS: Fast Probabilistic Neural Architecture Search"
    spaces: ClassVar[str] = "every space; a joint distribution is over the choices of a layer"

    epochs: int = Field(default=315, ge=1)

    def check(self, plan: Plan) -> None:
        targets_of(plan.recipe.budget)
        if self.warmup_epochs >= self.epochs:
            raise UserError(f"Of {self.epochs} epochs {self.warmup_epochs} cannot be warm-up: none would be left.")
        if self.distribution == "mixed" and not self.warmup_epochs <= self.joint_from < self.epochs:
            raise UserError(
                f"method.joint_from = {self.joint_from} does not lie between the warm-up's {self.warmup_epochs} epochs "
                f"and the last of {self.epochs}: a mixed distribution could not be both."
            )
        if self.distribution != "factorised":
            factors_of(plan.space, "joint")
        check_training_key_unset(plan.recipe, "epochs", "method.epochs")

    def run(self, study: Study) -> Outcome:
        weights = self.learn(study)
        self.choose(study, weights)
        return study.outcome("final", study.space, next(iter(study.budget.root), "macs"), weights)

    def learn(self, study: Study) -> Weights:
        """Warm-up, then K architectures a step."""
        settings = study.recipe.training.changed(epochs=self.epochs)
        weights = study.train("distribution", study.space, self.objective(study.budget), settings, streams=STREAMS)
        table = epochs_of(weights, study.recipe.scale.train.workers)
        study.folder.write(EPOCHS, table.to_csv(index=False).encode())
        fewer = table[table["worker_seconds_saved"] > 0]
        if len(fewer):
            study.say(
                f"from epoch {fewer['epoch'].min()} on {fewer['workers'].min()} of {study.recipe.scale.train.workers} "
                f"workers were enough, which saved {table['worker_seconds_saved'].sum():.0f} worker-seconds"
            )
        return weights

    def choose(self, study: Study, weights: Weights) -> Architecture:
        """The most probable architecture within the budget; that of all is the last row of the step `distribution`."""
        learner = self.objective(study.budget).begin(study.space, study.costs, study.recipe.seed)
        learner.load_state_dict(study.learner_state(weights))
        logits = learner.logits[learner.kind]
        found, exact = most_probable_of_factors(learner.factors, logits, study.costs, study.budget)
        if found is not None:
            chosen = study.space.architecture(found.tolist())
        else:
            example = study.budget.example(study.space, study.costs, np.random.default_rng(study.recipe.seed))
            assert example is not None, "the budget was met by an architecture before the search began"
            chosen = example
        study.evaluate("final", study.space, [chosen], weights, learner.notes())
        if chosen == learner.most_probable():
            study.say("the most probable architecture meets the budget")
        else:
            proven = "the most probable one within it" if exact else "the most probable one within it that was found"
            study.say(f"the most probable architecture does not meet the budget; {proven} is taken")
        return chosen

    def objective(self, budget: Budget) -> DrawnPaths:
        return DrawnPaths(targets=targets_of(budget), **self.model_dump(include=set(Drawing.model_fields)))


class Parsec(FpNas):
    """The same with a fixed number of samples and a joint distribution throughout."""

    paper: ClassVar[str] = "Casale et al., Probabilistic Neural Architecture Search"

    samples: Samples = FixedSamples(count=16)
    distribution: Schedule = "joint"


def targets_of(budget: Budget) -> dict[str, float]:
    """TAR of equation 6 by resource: what an architecture may cost before cost counts.

    Raises:
        UserError: if a limit has no upper end.
    """
    targets = {}
    for resource, limit in budget.root.items():
        target = limit.max if limit.target is None else limit.target
        if not target:
            raise UserError(
                f"FP-NAS penalises what costs more than a target: give budget.{resource} a max or a target."
            )
        targets[resource] = target
    return targets


def epochs_of(weights: Weights, asked: int) -> pd.DataFrame:
    """One row an epoch, from the training's history; `asked` is how many workers the run may take."""
    names = {"architecture_entropy": "entropy", "architecture_samples": "samples"}
    table = pd.DataFrame(weights.history).rename(columns=names)
    table["worker_seconds_saved"] = (asked - table["workers"]) * table["seconds"]
    told: list[Any] = ["epoch", "loss", "top1", "entropy", "samples", "workers", "seconds", "worker_seconds_saved"]
    return table.reindex(columns=told)
