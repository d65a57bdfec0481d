"""DARTS (Liu et al.) and PC-DARTS (Xu et al.): the cells of a network by gradients, what FTSO and HM-NAS begin from."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from raynas.interfaces.objective import STREAMS
from raynas.study.method import Method
from search_spaces.architecture import NOTHING
from search_spaces.cell.space import CellSpace
from search_spaces.errors import UserError
from tuners.darts.weighted_mixture import Mixture, MixtureLearner, nodes

if TYPE_CHECKING:
    from raynas.results.outcome import Outcome
    from raynas.storage.weights import Weights
    from raynas.study.run_plan import Plan
    from raynas.study.study import Study
    from search_spaces import Budget, SearchSpace


class Darts(Method):
    """A mixture of all operations on all edges, trained for `training.epochs`; then the strongest alone.

    Attributes:
        order: 2 looks at the loss after the weights' next step, at three times the multiply-adds; 1 does not.
        inputs: how many inputs a node keeps; without it every edge takes its strongest option, as on `nats-bench`.
        warm_epochs: the first epochs, in which only the weights move.
        architecture_learning_rate: Adam's, of the architecture parameters.
    """

    paper: ClassVar[str] = "Liu et al., DARTS: Differentiable Architecture Search"
    spaces: ClassVar[str] = "spaces of cells"
    edges: ClassVar[Literal["none", "softmax"]] = "none"

    order: Literal[1, 2] = 1
    inputs: int | None = Field(default=2, ge=1)
    warm_epochs: int = Field(default=0, ge=0)
    architecture_learning_rate: float = Field(default=3e-4, gt=0)

    def check(self, plan: Plan) -> None:
        check_no_budget(plan.recipe.budget, plan.recipe.method["name"])
        check_space_has_cells(plan.space, plan.recipe.method["name"])
        check_edges_can_be_removed(plan.space, self.inputs)
        if self.order == 2 and plan.recipe.training.optimizer != "sgd":
            raise UserError("The second order looks ahead by a step of SGD: set training.optimizer=sgd, or order=1.")

    def run(self, study: Study) -> Outcome:
        objective = self.objective()
        weights = study.train("supernet", study.space, objective, study.recipe.training, streams=STREAMS)
        learner = restore_learner(study, objective, study.space, weights)
        study.evaluate("final", study.space, [learner.most_probable()], weights, learner.notes())
        study.say(f"{100 * learner.notes()['skips']:.0f} % of the operations are skip connections")
        return study.outcome("final", study.space, "macs", weights)

    def objective(self) -> Mixture:
        return Mixture(
            edges=self.edges,
            inputs=self.inputs,
            order=self.order,
            warm_epochs=self.warm_epochs,
            learning_rate=self.architecture_learning_rate,
        )


class PcDarts(Darts):
    """DARTS with weights of edges too, for supernets whose edges run on a part of the channels (`space.partial: 4`)."""

    paper: ClassVar[str] = "Xu et al., PC-DARTS: Partial Channel Connections for Memory-Efficient Architecture Search"
    edges: ClassVar[Literal["none", "softmax"]] = "softmax"

    warm_epochs: int = Field(default=15, ge=0)
    architecture_learning_rate: float = Field(default=6e-4, gt=0)


def restore_learner(study: Study, objective: Mixture, space: SearchSpace, weights: Weights) -> MixtureLearner:
    """The learner at the end of the training that gave these weights."""
    learner = objective.begin(space, study.costs, 0)
    learner.load_state_dict(study.learner_state(weights))
    return learner


def check_no_budget(budget: Budget, method: str) -> None:
    """Raises UserError if there is a budget, for a method that looks at accuracy alone."""
    if budget.root:
        raise UserError(f"The method {method} honours no budget in cells: leave the key budget out.")


def check_space_has_cells(space: SearchSpace, method: str) -> None:
    """Raises UserError if a space is not one of cells."""
    if not isinstance(space, CellSpace):
        raise UserError(
            f"{space.name} has no cells with edges for the method {method} to weigh: use a space such as darts or "
            "nats-bench."
        )


def check_edges_can_be_removed(space: SearchSpace, inputs: int | None) -> None:
    """Raises UserError if a node shall keep fewer inputs than it has, and a choice cannot be nothing."""
    for edges in nodes(space) if inputs is not None else ():
        for choice in (space.choices[edge] for edge in edges):
            if len(edges) > (inputs or 0) and not choice.subset and NOTHING not in choice.options:
                raise UserError(
                    f"{choice.name} of {space.name} cannot be left out: put {NOTHING} among its operations, or let it "
                    "take any number of them by subset: true."
                )
