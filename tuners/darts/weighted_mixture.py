"""The continuous search of cells: an edge is a weighted mixture of its operations, and gradients move the weights.

DARTS (Liu et al.) weighs the operations of an edge. PC-DARTS (Xu et al.) and HM-NAS also weigh the edges into a node.
FTSO's topology search weighs the edges alone, by a softmax or by beta itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from raynas.interfaces.objective import (
    ARCHITECTURE,
    WEIGHTS,
    Gradients,
    Learner,
    MicroBatch,
    Objective,
    TrainingStep,
    Update,
    add_gradients,
)
from search_spaces.architecture import NOTHING
from tuners.darts.cells import discretise, edges_by_node, is_operation, is_surviving, strongest_operation_weights
from tuners.darts.second_order import unrolled_gradient

if TYPE_CHECKING:
    from search_spaces import Architecture, Costs, SearchSpace

_INITIAL_DEVIATION = 1e-3
"""The standard deviation of alpha and beta at the beginning, around 0, as in the code of DARTS and PC-DARTS."""


class Mixture(Objective):
    """Move architecture parameters and weights in turn in each training step.

    Adam moves the architecture parameters on the stream `search`; then the weights move on the stream `train`.

    Attributes:
        operations: whether alpha, the weights of an edge's operations (HM-NAS equation 1), is learnt. If not, all
            operations weigh the same, and `none` weighs nothing.
        edges: `softmax` learns beta, the weights of the edges into a node (HM-NAS equation 2). With `raw` beta itself
            multiplies an edge's output (FTSO algorithm 1, line 4), and may be negative. With `none` every edge counts
            in full.
        inputs: how many inputs a node of the discrete architecture keeps. If null, every edge takes its strongest
            option, which may be `none`.
        rank_inputs_by: the strength of an input: `operations` is the weight of its strongest operation times the weight
            of its edge, `edges` the weight of its edge alone. Weights have signs: a negative edge is weaker than 0.
        order: 1 moves alpha and beta by the loss at the present weights, 2 by the loss after the weights' next step
            (DARTS equation 7).
        warmup_epochs: the first epochs, in which only the weights move.
        trigger_epochs: the epoch, counted with the warm-up, by which the probability that a training step moves alpha
            and beta has fallen from 1 to 0, linearly epoch by epoch (HM-NAS algorithm 1). If null, every training step
            moves them.
        learning_rate, betas, weight_decay: settings of Adam.
    """

    chooses: ClassVar[bool] = True

    operations: bool = True
    edges: Literal["none", "softmax", "raw"] = "none"
    inputs: int | None = Field(default=2, ge=1)
    rank_inputs_by: Literal["operations", "edges"] = "operations"
    order: Literal[1, 2] = 1
    warmup_epochs: int = Field(default=0, ge=0)
    trigger_epochs: int | None = Field(default=None, ge=1)
    learning_rate: float = Field(default=3e-4, gt=0)
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = Field(default=1e-3, ge=0)

    def begin(self, space: SearchSpace, costs: Costs, seed: int) -> MixtureLearner:
        return MixtureLearner(self, space, seed)

    def restore_learner(self, space: SearchSpace, costs: Costs, state: Mapping[str, Any]) -> MixtureLearner:
        """Return the learner at the end of a training, from its saved state."""
        learner = self.begin(space, costs, 0)
        learner.load_state_dict(state)
        return learner

    def trigger_probability(self, epoch: int) -> float:
        """Return the probability that a training step of this epoch, counted from 0, moves alpha and beta."""
        if epoch < self.warmup_epochs:
            return 0.0
        if self.trigger_epochs is None:
            return 1.0
        return max(0.0, (self.trigger_epochs - epoch) / max(1, self.trigger_epochs - self.warmup_epochs))


class MixtureLearner(Learner):
    """The architecture parameters.

    Attributes:
        alpha: the logits of the operations, shape (choices, most options of a choice).
        beta: the logits of the edges, or with raw edges their weights, shape (choices,).
    """

    def __init__(self, settings: Mixture, space: SearchSpace, seed: int) -> None:
        super().__init__()
        self._settings, self._space = settings, space
        shape = (len(space.choices), max(len(choice.options) for choice in space.choices))
        generator = torch.Generator().manual_seed(seed)
        alpha, beta = (_INITIAL_DEVIATION * torch.randn(size, generator=generator) for size in (shape, shape[:1]))
        learns_edges = settings.edges != "none"
        self.alpha = nn.Parameter(alpha * settings.operations, requires_grad=settings.operations)
        self.beta = nn.Parameter(beta * learns_edges, requires_grad=learns_edges)

    def passes(self, epoch: int) -> Sequence[Sequence[Update]]:
        weights = Update(WEIGHTS, "train", self._move_weights)
        probability = self._settings.trigger_probability(epoch)
        if not probability:
            return [[weights]]

        def move_architecture(step: TrainingStep) -> Gradients:
            is_triggered = probability == 1 or step.generator.random() < probability
            return self._move_architecture(step) if is_triggered else Gradients([], {})

        beside = "train" if self._settings.order == 2 else None
        return [[Update(ARCHITECTURE, "search", move_architecture, beside), weights]]

    def groups(self) -> dict[str, torch.optim.Optimizer]:
        settings = self._settings
        learnt = [parameter for parameter in (self.alpha, self.beta) if parameter.requires_grad]
        adam = torch.optim.Adam(learnt, settings.learning_rate, settings.betas, weight_decay=settings.weight_decay)
        return {ARCHITECTURE: adam}

    def operation_weights(self) -> Tensor:
        """Return the softmax of alpha over each choice's surviving options (equation 1), shape (choices, options)."""
        options = is_surviving(self._space) if self._settings.operations else is_operation(self._space)
        return torch.softmax(self.alpha.masked_fill(~options.to(self.alpha.device), -math.inf), dim=-1).nan_to_num(0)

    def edge_weights(self) -> Tensor:
        """Return the weights of the edges, shape (choices,): the softmax of beta over the surviving edges into a node.

        That is HM-NAS equation 2. Raw weights of surviving edges are beta itself (FTSO algorithm 1, line 4).
        """
        if self._settings.edges == "none":
            return torch.ones_like(self.beta)
        weights = torch.zeros_like(self.beta)
        for edges in edges_by_node(self._space):
            beta = self.beta[edges]
            weights[edges] = beta if self._settings.edges == "raw" else torch.softmax(beta, dim=0)
        return weights

    def weights(self) -> Tensor:
        """Return the factor of each operation's output, shape (choices, options)."""
        return self.operation_weights() * self.edge_weights()[:, None]

    def most_probable(self) -> Architecture:
        """Return the discrete architecture: each node's strongest inputs, each with its strongest operation."""
        weights, edge_strengths = self.operation_weights().detach(), self.edge_weights().detach()
        if self._settings.rank_inputs_by == "operations":
            edge_strengths = edge_strengths * strongest_operation_weights(self._space, weights)
        return discretise(self._space, weights, edge_strengths, self._settings.inputs)

    def probabilities(self) -> Tensor:
        """Return the weights of the mixture."""
        return self.weights().detach()

    def notes(self) -> dict[str, Any]:
        """Return `skip_share`: the share of skip connections among the edges that the discrete architecture keeps."""
        most_probable = self.most_probable()
        words = [choice.write(value) for choice, value in zip(self._space.choices, most_probable.indices, strict=True)]
        operations = [word for word in words if word != NOTHING]
        return {"skip_share": sum(word.startswith("skip") for word in operations) / max(1, len(operations))}

    def _move_weights(self, step: TrainingStep) -> Gradients:
        return Gradients([], run_mixture(step, step.micro_batches, self.weights().detach()))

    def _move_architecture(self, step: TrainingStep) -> Gradients:
        weights = self.weights()
        # The micro-batches add their gradients to this leaf, so that one backward pass reaches alpha and beta.
        leaf = weights.detach().requires_grad_()
        if self._settings.order == 1:
            metrics = run_mixture(step, step.micro_batches, leaf)
        else:
            metrics = unrolled_gradient(step, leaf, run_mixture)
        torch.autograd.backward(weights, leaf.grad)
        return Gradients([], metrics)


def run_mixture(step: TrainingStep, batches: Sequence[MicroBatch], weights: Tensor) -> dict[str, Tensor]:
    """Add the gradients of the mixture's loss on the micro-batches, and return the metrics."""
    return add_gradients(step, lambda images: step.supernet.mixed(images, weights), batches)
