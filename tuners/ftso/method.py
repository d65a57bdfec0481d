"""FTSO: effective NAS via first topology, second operator (ICLR 2021 submission), algorithms 1 and 2.

The topology is searched with the simplest operator alone, the skip connection. It has next to no weights, so the
search learns little more than beta, the weights of the edges. Each node keeps its two strongest inputs. Then every kept
edge gets one powerful operator, or gradients search the operators of the few kept edges.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from raynas.interfaces.streams import STREAMS
from raynas.results.outcome import Outcome
from raynas.study.method import Method
from raynas.study.run_plan import check_fit
from search_spaces.cell.space import CellSpace
from search_spaces.errors import UserError, format_count
from tuners.darts.checks import check_edges_can_be_removed, check_no_budget
from tuners.ftso.topologies import SIMPLEST_OPERATOR, CellTopologies, EdgeWeights, LayerTopologies, Topologies

if TYPE_CHECKING:
    from raynas.storage.weights import Weights
    from raynas.study.run_plan import Plan
    from raynas.study.study import Study
    from search_spaces import Architecture, Budget, Costs, SearchSpace
    from tuners.darts.weighted_mixture import Mixture


class Ftso(Method):
    """Search the topology first, for an epoch or a few training steps, and the operators second.

    The evaluation table's column `accuracy_of` names the measured network:

    - `topology`: the one-shot accuracy of the topology with its simplest operators;
    - `supernet`: the one-shot accuracy of the searched operators;
    - `network`: the stand-alone accuracy of the replaced operators on the test images. The recipe's `fit` trains them,
      because no supernet has.

    Attributes:
        topology_operators: the operators of the topology search (table 3). Several operators compete with each other
            and with `none`. Layer-by-layer spaces always use each layer's cheapest operator.
        strategy: `replace` gives one operator to all kept edges or layers; `search` searches their operators.
        replacement_operator: the operator of `replace`. By default, a 3x3 separable convolution in cells,
            nor_conv_3x3 on `nats-bench`, and each layer's costliest operator in layer-by-layer spaces.
        edge_weights: the factors of the edges in the topology search of a cell. `softmax` normalises beta over the
            inputs of a node, as in PC-DARTS. `raw` is beta itself, as algorithm 1 prints in line 4. Beta begins around
            0 with a standard deviation of 1e-3 in both; the paper prints no start. A node keeps the inputs with the
            greatest beta, with its sign (lines 8 to 11). The operator search always has the softmax.
        inputs: how many inputs a node of a cell keeps.
        topology_epochs: the epochs of the topology search.
        topology_steps: the most training steps of an epoch of the topology search: 1 for the paper's search of one
            iteration.
        operator_epochs: the epochs of the operator search.
        architecture_learning_rate: Adam's learning rate for the architecture parameters (table 4).
    """

    paper: ClassVar[str] = "FTSO: Effective NAS via First Topology Second Operator (under review, ICLR 2021)"
    spaces: ClassVar[str] = "spaces of cells, and layer-by-layer spaces with skip"
    own_training: ClassVar[Mapping[str, str]] = {
        "epochs": "method.topology_epochs and method.operator_epochs",
        "steps": "method.topology_steps",
    }

    topology_operators: tuple[str, ...] = Field(default=(SIMPLEST_OPERATOR,), min_length=1)
    strategy: Literal["replace", "search"] = "replace"
    replacement_operator: str | None = None
    edge_weights: EdgeWeights = "softmax"
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
        if self.strategy == "replace":
            check_fit(plan)

    def run(self, study: Study) -> Outcome:
        topologies = self.topologies(study.space, study.costs, study.budget)
        kept, weights, is_unchanged = self.search_topology(study, topologies)
        if self.strategy == "replace":
            architecture = topologies.replace_operators(kept)
            return self.replace_operators(study, topologies.simplest, architecture, weights, is_unchanged)
        return self.search_operators(study, topologies, topologies.restrict_to_kept(kept))

    def search_topology(self, study: Study, topologies: Topologies) -> tuple[frozenset[int], Weights, bool]:
        """Search the topology (algorithm 1); the pruned topology's one-shot accuracy is the step `topology-accuracy`.

        Returns:
            The kept edges or layers, the supernet's weights, and whether the topology is the topology of the initial
            weights.
        """
        space, objective = topologies.simplest, self.objective(topologies.learns)
        changes = {"epochs": self.topology_epochs, "steps": self.topology_steps}
        settings = study.recipe.training.changed(**changes)
        weights = study.train("topology", space, objective, settings, streams=STREAMS)
        learner = objective.restore_learner(space, study.costs, study.learner_state(weights))
        kept = topologies.select_kept(learner.most_probable(), learner.alpha.detach())
        initial = objective.begin(space, study.costs, study.seed_of("topology"))
        is_unchanged = kept == topologies.select_kept(initial.most_probable(), initial.alpha.detach())
        if is_unchanged:
            study.say("the search has not changed the topology of the initial weights")
        notes = {"accuracy_of": "topology", "topology_unchanged": is_unchanged}
        pruned = topologies.prune(kept, learner.most_probable())
        study.evaluate("topology-accuracy", space, [pruned], weights, notes)
        return kept, weights, is_unchanged

    def replace_operators(
        self, study: Study, space: SearchSpace, architecture: Architecture, weights: Weights, is_unchanged: bool
    ) -> Outcome:
        """Train the network of the replaced operators stand-alone (algorithm 2, line 2)."""
        columns = {"accuracy_of": "network", "topology_unchanged": is_unchanged}
        network = study.fit("network", architecture, study.recipe.fit, columns=columns)
        study.say(
            f"{architecture}: {network.top1:.2f} % of the test images after "
            f"{format_count(study.recipe.fit.epochs, 'epoch')} of stand-alone training"
        )
        return study.outcome("network-test", space, "macs", weights, network.weights)

    def search_operators(self, study: Study, topologies: Topologies, space: SearchSpace) -> Outcome:
        """Search the operators of the kept edges or layers by gradients (algorithm 2, lines 4 to 10)."""
        objective = self.objective(topologies.learns_second)
        settings = study.recipe.training.changed(epochs=self.operator_epochs)
        weights = study.train("operators", space, objective, settings, streams=STREAMS)
        learner = objective.restore_learner(space, study.costs, study.learner_state(weights))
        architecture = topologies.choose_operators(space, learner.most_probable(), learner.alpha.detach())
        study.evaluate("final", space, [architecture], weights, {"accuracy_of": "supernet"})
        return study.outcome("final", space, "macs", weights)

    def objective(self, learns: Mapping[str, Any]) -> Mixture:
        """Return the objective of a search, with settings of `Mixture` that say what it learns."""
        from tuners.darts.weighted_mixture import Mixture

        settings = {"inputs": self.inputs, **learns}
        return Mixture(learning_rate=self.architecture_learning_rate, **settings)

    def topologies(self, space: SearchSpace, costs: Costs, budget: Budget) -> Topologies:
        """Return the two searches of a space.

        Raises:
            UserError: if the space has no topology to search, or no topology can meet the budget.
        """
        if isinstance(space, CellSpace):
            return CellTopologies(space, self.topology_operators, self.replacement_operator, self.edge_weights)
        if self.topology_operators != (SIMPLEST_OPERATOR,):
            raise UserError(
                f"The topology of {space.name} is searched with each layer's cheapest operator: leave "
                "method.topology_operators out."
            )
        if self.edge_weights != "softmax":
            raise UserError(
                f"method.edge_weights is {self.edge_weights!r}, and {space.name} has layers, whose inputs have no "
                "weights: leave method.edge_weights out."
            )
        return LayerTopologies(space, costs, budget, self.replacement_operator, search=self.strategy == "search")
