"""What all steps of a run share: the cluster, the evaluators, seeds, and columns of the evaluation table."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from raynas.evaluation.request import EvaluationRequest
from raynas.interfaces.costs import costs_of

if TYPE_CHECKING:
    from torch import Tensor

    from raynas.data.images import DataPart
    from raynas.evaluation.request import Evaluators, Oracle
    from raynas.interfaces.objective import Objective
    from raynas.interfaces.searcher import Evaluation
    from raynas.storage.progress import Reporter
    from raynas.storage.run_folder import RunFolder
    from raynas.study.processes import RunProcesses
    from raynas.study.run_plan import Plan
    from raynas.training.early_stop import EarlyStopClient
    from search_spaces import Architecture, SearchSpace


@dataclass(frozen=True)
class RunContext:
    """One attempt at a run.

    Attributes:
        attempt: the number of this attempt on the run folder.
        reporter: where the run's lines and progress go.
        processes: the run's Ray processes, which live on between steps.
        early_stop: in a trial of a sweep that stops trainings early, where the decisions are.
    """

    plan: Plan
    folder: RunFolder
    attempt: int
    reporter: Reporter
    processes: RunProcesses
    early_stop: EarlyStopClient | None = None

    def seed_of(self, step: str, trial: int = 0) -> int:
        """Return the seed of a step's trial. It follows from the recipe's seed and the step's name."""
        entropy = [self.plan.recipe.seed, zlib.crc32(step.encode()), trial]
        return int(np.random.SeedSequence(entropy).generate_state(1)[0])

    def shared_columns(self, part: DataPart, weights_version: str | None = None) -> dict[str, Any]:
        """Return the columns of the evaluation table that all rows of a step share."""
        recipe = self.plan.recipe
        on_cpu = recipe.scale.train.gpus == recipe.scale.evaluate.gpus == 0
        columns = {"recipe_hash": recipe.identity(), "part": part, "reproducible": on_cpu or recipe.scale.deterministic}
        return columns if weights_version is None else {**columns, "weights_version": weights_version}

    def supernet_oracle(
        self, space: SearchSpace, part: DataPart, recalibrate: bool, mixture: Tensor | None = None
    ) -> Oracle:
        """Return the oracle of a supernet's accuracy on one part of the images."""
        from raynas.evaluation.one_shot import SupernetOracle

        return SupernetOracle(
            run=self.folder.uri,
            space=space.specification(),
            data=self.plan.data,
            evaluation=self.plan.recipe.evaluation,
            part=part,
            recalibrate=recalibrate,
            mixture=None if mixture is None else mixture.tolist(),
        )

    @contextmanager
    def evaluators(self, step: str, request: EvaluationRequest) -> Iterator[Evaluators]:
        """Yield the run's evaluators, for a request."""
        with self.processes.evaluators() as names:
            yield request.to(names, step)

    @contextmanager
    def most_probable_evaluators(
        self, step: str, space: SearchSpace, objective: Objective
    ) -> Iterator[Evaluators | None]:
        """Yield the evaluators for a training whose objective chooses architectures; None for another training."""
        if not objective.chooses:
            yield None
            return
        request = EvaluationRequest(self.supernet_oracle(space, "validation", recalibrate=True), None)
        with self.evaluators(step, request) as evaluators:
            yield evaluators

    def measure(
        self, step: str, request: EvaluationRequest, space: SearchSpace, architectures: Sequence[Architecture]
    ) -> list[Evaluation]:
        """Measure architectures with the run's evaluators."""
        with self.evaluators(step, request) as evaluators:
            from raynas.evaluation.actors import EvaluatorPool

            costs = costs_of(space, self.plan.latency)
            return EvaluatorPool(evaluators, costs, self.plan.recipe.budget).measure(architectures)
