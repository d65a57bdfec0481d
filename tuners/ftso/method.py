"""FTSO: effective NAS via first topology, second operator (ICLR 2021 submission), algorithms 1 and 2.

The topology is searched with the simplest operator alone, the skip connection, which has nothing to learn: only the
edges' weights beta are. Each node keeps its two strongest inputs. Then every kept edge is given one powerful operator,
or the operators are searched by gradients on the few edges that are left.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from raynas.interfaces.objective import STREAMS
from raynas.results.outcome import Outcome
from raynas.study.method import Method, check_fit_batch_size, check_training_key_unset
from search_spaces.cell.space import CellSpace
from search_spaces.errors import UserError
from tuners.darts.method import check_edges_can_be_removed, check_no_budget, restore_learner
from tuners.darts.weighted_mixture import Mixture
from tuners.ftso.topologies import SIMPLEST, CellTopologies, LayerTopologies, Topologies

if TYPE_CHECKING:
    from raynas.storage.weights import Weights
    from raynas.study.run_plan import Plan
    from raynas.study.study import Study
    from search_spaces import Architecture, Budget, Costs, SearchSpace


class Ftso(Method):
    """First the topology, for an epoch or a few steps; second the operators.

    The evaluation table's column `accuracy_of` says what an accuracy is that of: the `topology` with its simplest
    operators, the `supernet` of the operators, or, where they are replaced and nothing has trained them, the
    `network`, trained alone by the recipe's `fit` and measured on the test images.

    Attributes:
        operators: of the topology search (table 3); several compete with each other and with `none`. Layer-by-layer
            spaces have their layers' cheapest operators there.
        strategy: give all kept places one operator (`replace`), or search the operators (`search`).
        replacement: that operator: in cells a 3x3 separable convolution, on `nats-bench` nor_conv_3x3; in layers each
            one's costliest.
        inputs: how many inputs a node of a cell keeps.
        topology_epochs: of the topology search.
        topology_steps: how many steps its epochs have at most: 1 for the paper's search of one iteration.
        operator_epochs: of the operator search.
        architecture_learning_rate: Adam's, of the architecture parameters (table 4).
    """

    paper: ClassVar[str] = "FTSO: Effective NAS via First Topology Second Operator (under review, ICLR 2021)"
    spaces: ClassVar[str] = "spaces of cells, and layer-by-layer spaces with skip"

    operators: tuple[str, ...] = Field(default=(SIMPLEST,), min_length=1)
    strategy: Literal["replace", "search"] = "replace"
    replacement: str | None = None
    inputs: int = Field(default=2, ge=1)
    topology_epochs: int = Field(default=1, ge=1)
    topology_steps: int | None = Field(default=None, ge=1)
    operator_epochs: int = Field(default=50, ge=1)
    architecture_learning_rate: float = Field(default=6e-4, gt=0)

    def check(self, plan: Plan) -> None:
        if isinstance(plan.space, CellSpace):
            check_no_budget(plan.recipe.budget, "ftso")
            check_edges_can_be_removed(plan.space, self.inputs)
        self.topologies(plan.space, plan.costs, plan.recipe.budget)
        check_training_key_unset(plan.recipe, "epochs", "method.topology_epochs and method.operator_epochs")
        check_fit_batch_size(plan)
        check_training_key_unset(plan.recipe, "steps", "method.topology_steps")

    def run(self, study: Study) -> Outcome:
        topologies = self.topologies(study.space, study.costs, study.budget)
        kept, weights, untouched = self.search_topology(study, topologies)
        if self.strategy == "replace":
            return self.replace_operators(study, topologies.simplest, topologies.replaced(kept), weights, untouched)
        return self.search_operators(study, topologies, topologies.remaining(kept))

    def search_topology(self, study: Study, topologies: Topologies) -> tuple[frozenset[int], Weights, bool]:
        """Algorithm 1, and whether the topology is still that of the initial weights.

        The pruned topology's one-shot accuracy is the step `topology-accuracy`.
        """
        space, objective = topologies.simplest, self.objective(topologies.learns)
        changes = {"epochs": self.topology_epochs, "steps": self.topology_steps}
        settings = study.recipe.training.changed(**changes)
        weights = study.train("topology", space, objective, settings, streams=STREAMS)
        learner = restore_learner(study, objective, space, weights)
        kept = topologies.kept(learner.most_probable(), learner.alpha.detach())
        drawn = objective.begin(space, study.costs, study.seed_of("topology"))
        untouched = kept == topologies.kept(drawn.most_probable(), drawn.alpha.detach())
        if untouched:
            study.say("the topology is that of the initial weights, which the search has not changed")
        notes = {"accuracy_of": "topology", "untouched": untouched}
        study.evaluate("topology-accuracy", space, [topologies.pruned(kept, learner.most_probable())], weights, notes)
        return kept, weights, untouched

    def replace_operators(
        self, study: Study, space: SearchSpace, found: Architecture, weights: Weights, untouched: bool
    ) -> Outcome:
        """Algorithm 2, line 2."""
        columns = {"accuracy_of": "network", "untouched": untouched}
        network = study.fit("network", found, study.recipe.fit, columns=columns)
        study.say(f"{found}: {network.top1:.2f} % of the test images after {study.recipe.fit.epochs} epochs alone")
        return study.outcome("network-test", space, "macs", weights, network.weights)

    def search_operators(self, study: Study, topologies: Topologies, space: SearchSpace) -> Outcome:
        """Algorithm 2, lines 4 to 10."""
        objective = self.objective({**topologies.learns, "operations": True, "rank": "operations"})
        settings = study.recipe.training.changed(epochs=self.operator_epochs)
        weights = study.train("operators", space, objective, settings, streams=STREAMS)
        learner = restore_learner(study, objective, space, weights)
        found = topologies.chosen(space, learner.most_probable(), learner.alpha.detach())
        study.evaluate("final", space, [found], weights, {"accuracy_of": "supernet"})
        return study.outcome("final", space, "macs", weights)

    def objective(self, learns: Mapping[str, Any]) -> Mixture:
        settings = {"inputs": self.inputs, **learns}
        return Mixture(learning_rate=self.architecture_learning_rate, **settings)

    def topologies(self, space: SearchSpace, costs: Costs, budget: Budget) -> Topologies:
        """The two searches of a space; raises UserError if it has none, or the budget cannot be met."""
        if isinstance(space, CellSpace):
            return CellTopologies(space, self.operators, self.replacement)
        if self.operators != (SIMPLEST,):
            raise UserError(
                f"The topology of {space.name} is searched with each layer's cheapest operator: leave method.operators "
                "out."
            )
        return LayerTopologies(space, costs, budget, self.replacement, search=self.strategy == "search")
