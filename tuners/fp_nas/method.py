"""FP-NAS: fast probabilistic neural architecture search (Yan et al.), sections 3.2 to 3.4.

After a warm-up of the weights, each training step draws K architectures from a distribution that is learnt. K falls
with the entropy of the distribution. The distribution is factorised first, which is coarse and fast, and joint later.
It ends with its most probable architecture.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import pandas as pd
from pydantic import Field

from raynas.interfaces.streams import STREAMS
from raynas.results.outcome import Outcome
from raynas.study.method import Method
from search_spaces.errors import UserError, format_count
from tuners.fp_nas.layers import joint_layers
from tuners.fp_nas.sample_size import FixedSampling, SampleSize
from tuners.fp_nas.settings import SamplingSettings, Schedule
from tuners.most_probable import choose_within_budget

if TYPE_CHECKING:
    from raynas.storage.weights import Weights
    from raynas.study.run_plan import Plan
    from raynas.study.study import Study
    from search_spaces import Architecture, Budget
    from tuners.fp_nas.drawn_paths import DrawnPaths

EPOCHS_FILE = "epochs.csv"
_EPOCH_COLUMNS = ["epoch", "loss", "top1", "entropy", "sample_size", "workers", "seconds", "worker_seconds_saved"]


class FpNas(Method, SamplingSettings):
    """Learn a distribution over architectures and the weights of a supernet together.

    The search of the paper has this form:

        warm-up: for each training batch, move the weights of one uniformly drawn architecture
        then, for each pair of a validation batch and a training batch:
            from the epoch theta on, the distribution is joint (section 3.3)
            draw K = max(1, floor(lambda H)) architectures (equation 4)
            on the validation batch, move alpha by the importance weights m_k (equation 7)
            on the training batch, move the weights (equation 3)
        take the most probable architecture

    `learn` carries out the loop as one training, whose updates are those of `drawn_paths.DrawnPathsLearner`.
    `choose` takes the architecture.

    The run folder's `epochs.csv` has a row for each epoch: the means over the training steps of loss, accuracy, entropy
    (nats) and K, the workers, the seconds, and the worker-seconds that the search gave back (`return_workers`).

    Attributes:
        epochs: the epochs of the whole search, counted with the warm-up.
        final: the architecture that ends the search: the most probable `within-budget`, or the `most-probable` of all,
            whatever it costs (section 3.4). Then the budget is only the target of equation 6.
    """

    paper: ClassVar[str] = "Yan et al., FP-NAS: Fast Probabilistic Neural Architecture Search"
    spaces: ClassVar[str] = "every space; a joint distribution is over the choices of a layer"
    own_training: ClassVar[Mapping[str, str]] = {"epochs": "method.epochs"}

    epochs: int = Field(default=315, ge=1)
    final: Literal["within-budget", "most-probable"] = "within-budget"

    def check(self, plan: Plan) -> None:
        targets_of(plan.recipe.budget)
        if self.warmup_epochs >= self.epochs:
            raise UserError(
                f"method.warmup_epochs is {self.warmup_epochs}; it must be below method.epochs, which is "
                f"{self.epochs}. Lower it."
            )
        if self.distribution == "mixed" and not self.warmup_epochs <= self.joint_from < self.epochs:
            raise UserError(
                f"method.joint_from is {self.joint_from}; it must be at least method.warmup_epochs "
                f"({self.warmup_epochs}) and below method.epochs ({self.epochs}). Change it, or set "
                "method.distribution to factorised or joint."
            )
        if self.distribution != "factorised":
            joint_layers(plan.space)

    def run(self, study: Study) -> Outcome:
        weights = self.learn(study)
        self.choose(study, weights)
        return study.outcome("final", study.space, next(iter(study.budget.root), "macs"), weights)

    def learn(self, study: Study) -> Weights:
        """Warm up, then learn the distribution and the weights, and write `epochs.csv`."""
        settings = study.recipe.training.changed(epochs=self.epochs)
        weights = study.train("distribution", study.space, self.objective(study.budget), settings, streams=STREAMS)
        workers = study.recipe.scale.train.workers
        table = epochs_table(weights, workers)
        study.folder.write(EPOCHS_FILE, table.to_csv(index=False).encode())
        saving = table[table["worker_seconds_saved"] > 0]
        if len(saving):
            study.say(
                f"from epoch {saving['epoch'].min()} on {saving['workers'].min()} of {format_count(workers, 'worker')} "
                f"would do, which saved {table['worker_seconds_saved'].sum():.0f} worker-seconds"
            )
        return weights

    def choose(self, study: Study, weights: Weights) -> Architecture:
        """Return the architecture that ends the search; its one-shot accuracy is the step `final`.

        The last row of the step `distribution` holds the most probable of all architectures.
        """
        learner = self.objective(study.budget).begin(study.space, study.costs, study.recipe.seed)
        learner.load_state_dict(study.learner_state(weights))
        if self.final == "most-probable":
            architecture, note = learner.most_probable(), "the run takes the most probable architecture"
            if not study.budget.met(study.costs.cost([architecture])).all():
                note += ", which exceeds the target: `raynas fit RUN --architecture TEXT` trains it"
        else:
            distribution = learner.distribution
            log_probabilities = distribution.factors.log_probabilities(distribution.alpha.detach().double())
            architecture, note = choose_within_budget(study, log_probabilities, distribution.factors.indices)
        study.evaluate("final", study.space, [architecture], weights, learner.notes())
        study.say(note)
        return architecture

    def objective(self, budget: Budget) -> DrawnPaths:
        """Return the objective of the search."""
        from tuners.fp_nas.drawn_paths import DrawnPaths

        return DrawnPaths(targets=targets_of(budget), **self.model_dump(include=set(SamplingSettings.model_fields)))


class Parsec(FpNas):
    """FP-NAS with a fixed sample size and a joint distribution throughout."""

    paper: ClassVar[str] = "Casale et al., Probabilistic Neural Architecture Search"

    sample_size: SampleSize = FixedSampling(fixed=16)
    distribution: Schedule = "joint"


def targets_of(budget: Budget) -> dict[str, float]:
    """Return TAR of equation 6 by resource: the cost above which an architecture is penalised.

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


def epochs_table(weights: Weights, workers: int) -> pd.DataFrame:
    """Return one row for each epoch from the training's history.

    Args:
        workers: the number of workers that the run may take.
    """
    names = {"architecture_entropy": "entropy", "architecture_sample_size": "sample_size"}
    table = pd.DataFrame(weights.history).rename(columns=names)
    table["worker_seconds_saved"] = (workers - table["workers"]) * table["seconds"]
    return table.reindex(columns=_EPOCH_COLUMNS)
