"""DARTS (Liu et al.) and PC-DARTS (Xu et al.): search cells by gradients. FTSO and HM-NAS start from these methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from raynas.interfaces.streams import STREAMS
from raynas.study.method import Method
from tuners.darts.checks import (
    check_edges_can_be_removed,
    check_no_budget,
    check_partial_channels,
    check_second_order_uses_sgd,
    check_space_has_cells,
)

if TYPE_CHECKING:
    from raynas.results.outcome import Outcome
    from raynas.study.run_plan import Plan
    from raynas.study.study import Study
    from tuners.darts.weighted_mixture import Mixture


class Darts(Method):
    """Train a mixture of all operations on all edges for `training.epochs`; then keep the strongest operations alone.

    Attributes:
        order: 1 moves the architecture parameters by the loss at the present weights. 2 moves them by the loss at the
            weights after their next training step, at three times the multiply-adds.
        inputs: how many inputs a node keeps. If null, every edge takes its strongest option, as on `nats-bench`.
        warmup_epochs: the first epochs, in which only the weights move.
        architecture_learning_rate: Adam's learning rate for the architecture parameters.
    """

    paper: ClassVar[str] = "Liu et al., DARTS: Differentiable Architecture Search"
    spaces: ClassVar[str] = "spaces of cells"
    edges: ClassVar[Literal["none", "softmax"]] = "none"

    order: Literal[1, 2] = 1
    inputs: int | None = Field(default=2, ge=1)
    warmup_epochs: int = Field(default=0, ge=0)
    architecture_learning_rate: float = Field(default=3e-4, gt=0)

    def check(self, plan: Plan) -> None:
        check_no_budget(plan.recipe.budget, plan.recipe.method["name"])
        check_space_has_cells(plan.space, plan.recipe.method["name"])
        check_edges_can_be_removed(plan.space, self.inputs)
        check_second_order_uses_sgd(plan, self.order)

    def run(self, study: Study) -> Outcome:
        objective = self.objective()
        weights = study.train("supernet", study.space, objective, study.recipe.training, streams=STREAMS)
        learner = objective.restore_learner(study.space, study.costs, study.learner_state(weights))
        study.evaluate("final", study.space, [learner.most_probable()], weights, learner.notes())
        study.say(f"{100 * learner.notes()['skip_share']:.0f} % of the operations are skip connections")
        return study.outcome("final", study.space, "macs", weights)

    def objective(self) -> Mixture:
        """Return the objective of the supernet's training."""
        from tuners.darts.weighted_mixture import Mixture

        return Mixture(
            edges=self.edges,
            inputs=self.inputs,
            order=self.order,
            warmup_epochs=self.warmup_epochs,
            learning_rate=self.architecture_learning_rate,
        )


class PcDarts(Darts):
    """DARTS with weights of edges too, for supernets whose edges run on a part of the channels (`space.partial: 4`)."""

    paper: ClassVar[str] = "Xu et al., PC-DARTS: Partial Channel Connections for Memory-Efficient Architecture Search"
    edges: ClassVar[Literal["none", "softmax"]] = "softmax"

    warmup_epochs: int = Field(default=15, ge=0)
    architecture_learning_rate: float = Field(default=6e-4, gt=0)

    def check(self, plan: Plan) -> None:
        super().check(plan)
        check_partial_channels(plan.space)
