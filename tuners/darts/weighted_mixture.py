"""The continuous search of cells: an edge is a weighted mixture of its operations, and the weights learn by gradients.

DARTS (Liu et al.) weighs the operations of an edge, PC-DARTS (Xu et al.) and HM-NAS the edges into a node as well, and
FTSO's topology search the edges alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
from search_spaces.costs import kept_options
from tuners.darts.second_order import unrolled_gradient

if TYPE_CHECKING:
    from search_spaces import Architecture, Costs, SearchSpace

_SPREAD = 1e-3
"""The standard deviation of alpha and beta at the beginning."""


class Mixture(Objective):
    """Architecture parameters and weights, moved in turn in each step: by Adam on the stream `search`, then on `train`.

    Attributes:
        operations: whether alpha is learnt, the weights of an edge's operations (HM-NAS equation 1); else all weigh the
            same, and `none` nothing.
        edges: how beta, the weights of the edges, is learnt: `softmax` over the edges that arrive at a node (HM-NAS
            equation 2), or `none`: an edge then counts in full.
        inputs: how many inputs a node of the discrete architecture keeps; without it every edge takes its strongest
            option, be it `none`.
        rank: what an input's strength is: its strongest operation's weight times its edge's, or the edge's alone.
        order: 2 moves alpha and beta by the loss after the weights' next step (DARTS equation 7), 1 by the loss now.
        warm_epochs: the first epochs, in which only the weights move.
        trigger_epochs: by which epoch, counted with the warm ones, the chance that a step moves alpha and beta has
            fallen from 1 to 0, linearly epoch by epoch (HM-NAS algorithm 1); without it every step does.
        learning_rate, betas, weight_decay: Adam's.
    """

    chooses: ClassVar[bool] = True

    operations: bool = True
    edges: Literal["none", "softmax"] = "none"
    inputs: int | None = Field(default=2, ge=1)
    rank: Literal["operations", "edges"] = "operations"
    order: Literal[1, 2] = 1
    warm_epochs: int = Field(default=0, ge=0)
    trigger_epochs: int | None = Field(default=None, ge=1)
    learning_rate: float = Field(default=3e-4, gt=0)
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = Field(default=1e-3, ge=0)

    def begin(self, space: SearchSpace, costs: Costs, seed: int) -> MixtureLearner:
        return MixtureLearner(self, space, seed)

    def chance(self, epoch: int) -> float:
        """The probability that a step of this epoch, counted from 0, moves the architecture."""
        if epoch < self.warm_epochs:
            return 0.0
        if self.trigger_epochs is None:
            return 1.0
        return max(0.0, (self.trigger_epochs - epoch) / max(1, self.trigger_epochs - self.warm_epochs))


class MixtureLearner(Learner):
    """What is learnt.

    Attributes:
        alpha: of the operations, shape (choices, most options of a choice).
        beta: of the edges, shape (choices,).
    """

    def __init__(self, settings: Mixture, space: SearchSpace, seed: int) -> None:
        super().__init__()
        self._settings, self._space = settings, space
        shape = (len(space.choices), max(len(choice.options) for choice in space.choices))
        generator = torch.Generator().manual_seed(seed)
        alpha, beta = (_SPREAD * torch.randn(size, generator=generator) for size in (shape, shape[:1]))
        edges = settings.edges != "none"
        self.alpha = nn.Parameter(alpha * settings.operations, requires_grad=settings.operations)
        self.beta = nn.Parameter(beta * edges, requires_grad=edges)

    def passes(self, epoch: int) -> Sequence[Sequence[Update]]:
        weights = Update(WEIGHTS, "train", self._move_weights)
        chance = self._settings.chance(epoch)
        if not chance:
            return [[weights]]

        def move_architecture(step: TrainingStep) -> Gradients:
            taken = chance == 1 or step.generator.random() < chance
            return self._move_architecture(step) if taken else Gradients([], {})

        beside = "train" if self._settings.order == 2 else None
        return [[Update(ARCHITECTURE, "search", move_architecture, beside), weights]]

    def groups(self) -> dict[str, torch.optim.Optimizer]:
        settings = self._settings
        learnt = [parameter for parameter in (self.alpha, self.beta) if parameter.requires_grad]
        adam = torch.optim.Adam(learnt, settings.learning_rate, settings.betas, weight_decay=settings.weight_decay)
        return {ARCHITECTURE: adam}

    def operation_weights(self) -> Tensor:
        """Equation 1: the softmax of alpha over each choice's surviving options, shape (choices, options)."""
        kept = surviving(self._space) if self._settings.operations else operations(self._space)
        return torch.softmax(self.alpha.masked_fill(~kept.to(self.alpha.device), -math.inf), dim=-1).nan_to_num(0)

    def edge_weights(self) -> Tensor:
        """Equation 2: the softmax of beta over the surviving edges into each node, shape (choices,)."""
        if self._settings.edges == "none":
            return torch.ones_like(self.beta)
        weights = torch.zeros_like(self.beta)
        for edges in nodes(self._space):
            weights[edges] = torch.softmax(self.beta[edges], dim=0)
        return weights

    def weights(self) -> Tensor:
        """What each operation's output is multiplied by, shape (choices, options)."""
        return self.operation_weights() * self.edge_weights()[:, None]

    def most_probable(self) -> Architecture:
        """The discrete architecture: the strongest operation of each edge, and each node's strongest inputs."""
        weights = self.weights().detach()
        strengths = self.edge_weights().detach() if self._settings.rank == "edges" else strongest(self._space, weights)
        return discrete(self._space, weights, strengths, self._settings.inputs)

    def probabilities(self) -> Tensor:
        """The weights of the mixture."""
        return self.weights().detach()

    def notes(self) -> dict[str, Any]:
        """`skips`: the share of skip connections among the edges that the discrete architecture keeps."""
        most_probable = self.most_probable()
        words = [choice.write(value) for choice, value in zip(self._space.choices, most_probable.indices, strict=True)]
        kept = [word for word in words if word != NOTHING]
        return {"skips": sum(word.startswith("skip") for word in kept) / max(1, len(kept))}

    def _move_weights(self, step: TrainingStep) -> Gradients:
        return Gradients([], run_mixture(step, step.micro_batches, self.weights().detach()))

    def _move_architecture(self, step: TrainingStep) -> Gradients:
        weights = self.weights()
        seen = weights.detach().requires_grad_()  # the network's gradient gathers here, whatever the micro-batches
        if self._settings.order == 1:
            metrics = run_mixture(step, step.micro_batches, seen)
        else:
            metrics = unrolled_gradient(step, seen, run_mixture)
        torch.autograd.backward(weights, seen.grad)
        return Gradients([], metrics)


def run_mixture(step: TrainingStep, batches: Sequence[MicroBatch], weights: Tensor) -> dict[str, Tensor]:
    """Add the gradients of the mixture's loss on these images; returns the metrics."""
    return add_gradients(step, lambda images: step.supernet.mixed(images, weights), batches)


def discrete(space: SearchSpace, weights: Tensor, strengths: Tensor, inputs: int | None) -> Architecture:
    """The discrete architecture of a mixture.

    Args:
        weights: shape (choices, most options of a choice).
        strengths: of the edges, shape (choices,).
        inputs: how many inputs a node keeps, the strongest, each with its strongest operation; the other edges take
            nothing. Without it every choice takes its strongest option, and `none` is one as any other.
    """
    values = []
    for choice, row, kept in zip(space.choices, weights.tolist(), space.surviving, strict=True):
        operations = [option for option in kept if inputs is None or choice.options[option] != NOTHING]
        option = max(operations or kept, key=lambda option: row[option])
        values.append(1 << option if choice.subset else option)
    for edges in nodes(space) if inputs is not None else ():
        for edge in sorted(edges, key=lambda edge: -float(strengths[edge]))[inputs:]:
            choice = space.choices[edge]
            values[edge] = 0 if choice.subset else choice.options.index(NOTHING)
    return space.architecture(values)


def strongest(space: SearchSpace, weights: Tensor) -> Tensor:
    """The weight of each choice's strongest operation that is not `none`, shape (choices,)."""
    return weights.masked_fill(~operations(space).to(weights.device), 0).amax(dim=1)


def nodes(space: SearchSpace) -> list[list[int]]:
    """The surviving edges into each node of the cells, by the positions of their choices."""
    edges: dict[str, list[int]] = {}
    for position, (choice, kept) in enumerate(zip(space.choices, space.surviving, strict=True)):
        if any(choice.options[option] != NOTHING for option in kept):
            edges.setdefault(choice.group, []).append(position)
    return list(edges.values())


def operations(space: SearchSpace) -> Tensor:
    """Which options survive and are not `none`, bool of shape (choices, most options of a choice)."""
    kept = surviving(space)
    for row, choice in zip(kept, space.choices, strict=True):
        if NOTHING in choice.options:
            row[choice.options.index(NOTHING)] = False
    return kept


def surviving(space: SearchSpace) -> Tensor:
    """Which options survive, bool of shape (choices, most options of a choice)."""
    return kept_options(space.surviving, max(len(choice.options) for choice in space.choices))
