"""Weights and architecture parameters trained in turn, one sampled network a step: HourNAS algorithm 1, both stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn

from raynas.interfaces.objective import (
    ARCHITECTURE,
    WEIGHTS,
    Gradients,
    Learner,
    Objective,
    TrainingStep,
    Update,
    add_gradients,
)
from tuners.hour_nas.proposals import fit, mix, probabilities, target_distance

if TYPE_CHECKING:
    from search_spaces import Architecture, Costs, SearchSpace
    from search_spaces.costs import TableCosts

Sampling = Literal["gumbel-max", "gumbel-softmax", "softmax"]


class PathSampling(BaseModel):
    """How HourNAS samples and learns: settings of the method as of its objective.

    Attributes:
        sampling: A of equation 4.
        temperature, decay: the temperature of the first update, and what it is multiplied by after each.
        slope: alpha of equation 10, the weight of the distance from the targets.
        architecture_learning_rate: Adam's, of the architecture parameters.
        alternate: move the weights over all training images and then the architecture parameters over all search
            images (`epoch`, as algorithm 1 does), or both in each step (`batch`).
    """

    sampling: Sampling = "gumbel-max"
    temperature: float = Field(default=5.0, gt=0)
    decay: float = Field(default=0.9999, gt=0, le=1)
    slope: float = Field(default=1.0, ge=0)
    architecture_learning_rate: float = Field(default=0.01, gt=0)
    alternate: Literal["epoch", "batch"] = "epoch"


class SampledPath(Objective, PathSampling):
    """What HourNAS trains in a stage.

    Attributes:
        targets: what an architecture shall cost, by resource; empty where cost does not matter (the vital blocks).
        proposals: how many distributions are learnt side by side; where there are targets they begin as proposals that
            meet them, else they begin uniform.
    """

    chooses: ClassVar[bool] = True

    targets: dict[str, float] = Field(default_factory=dict)
    proposals: int = Field(default=1, ge=1)

    def begin(self, space: SearchSpace, costs: Costs, seed: int) -> Learner:
        return Proposals(self, space, costs.as_table(), seed)


class Proposals(Learner):
    """m distributions over architectures, Theta, and one over the proposals, Pi (equations 8 and 9)."""

    iterations: Tensor

    def __init__(self, settings: SampledPath, space: SearchSpace, costs: TableCosts, seed: int) -> None:
        super().__init__()
        self._settings, self._space, self._costs = settings, space, costs
        self._kept = costs.kept
        start = (
            fit(costs, settings.targets, settings.proposals, seed)
            if settings.targets
            else torch.zeros(settings.proposals, *self._kept.shape)
        )
        self.theta = nn.Parameter(start.float())
        self.pi = nn.Parameter(torch.zeros(settings.proposals))
        self.register_buffer("iterations", torch.zeros((), dtype=torch.int64))

    def passes(self, epoch: int) -> Sequence[Sequence[Update]]:
        weights = Update(WEIGHTS, "train", self._move_weights)
        architecture = Update(ARCHITECTURE, "search", self._move_architecture)
        if self._settings.alternate == "batch":
            return [[weights, architecture]]
        return [[weights], [architecture]]

    def groups(self) -> dict[str, torch.optim.Optimizer]:
        return {ARCHITECTURE: torch.optim.Adam([self.theta, self.pi], lr=self._settings.architecture_learning_rate)}

    @property
    def temperature(self) -> float:
        return self._settings.temperature * self._settings.decay ** int(self.iterations)

    def most_probable(self) -> Architecture:
        """The most probable operations of the most probable proposal."""
        return self._architecture(
            self.theta[self.pi.argmax()].masked_fill(~self._kept.to(self.theta.device), -torch.inf)
        )

    def probabilities(self) -> Tensor:
        """Of the operations of the most probable proposal."""
        kept = self._kept.to(self.theta.device)
        return self.theta[self.pi.argmax()].detach().masked_fill(~kept, -torch.inf).softmax(dim=1)

    def notes(self) -> dict[str, Any]:
        return {"proposal": int(self.pi.argmax()), "temperature": self.temperature}

    def _sampled(self, step: TrainingStep) -> Tensor:
        """A of equation 9, shape (choices, options): rows of one proposal's operations, or of a mixture."""
        how, kept = self._settings.sampling, self._kept.to(self.theta.device)
        every = torch.ones(1, len(self.pi), dtype=torch.bool, device=self.pi.device)
        pi = sample_relaxed(self.pi[None], self.temperature, every, how, step.generator)[0]
        sampled = mix(pi, sample_relaxed(self.theta, self.temperature, kept, how, step.generator))
        self.iterations += 1
        return sampled

    def _move_weights(self, step: TrainingStep) -> Gradients:
        """Algorithm 1, lines 5 and 16."""
        return self._gradients(step, self._sampled(step).detach())

    def _move_architecture(self, step: TrainingStep) -> Gradients:
        """Algorithm 1, lines 8 and 19; the loss is equation 10's."""
        sampled = self._sampled(step)
        seen = sampled.detach().requires_grad_()  # the network's gradient gathers here, whatever the micro-batches
        gradients = self._gradients(step, seen)
        if self._settings.targets:
            share = sum(batch.share for batch in step.micro_batches)
            distance = self._settings.slope * target_distance(self._costs, sampled, self._settings.targets)
            torch.autograd.backward(distance * share, retain_graph=True)
            gradients.metrics["distance"] = distance.detach() * share
        torch.autograd.backward(sampled, seen.grad)
        return gradients

    def _gradients(self, step: TrainingStep, sampled: Tensor) -> Gradients:
        path = self._architecture(sampled)

        def one_path(images: Tensor) -> Tensor:
            rows = torch.arange(len(sampled), device=sampled.device)
            taken = torch.tensor(path.indices, device=sampled.device)
            logits: Tensor = step.supernet(images, path, sampled[rows, taken] if sampled.requires_grad else None)
            return logits

        hard = self._settings.sampling == "gumbel-max"
        logits_of = one_path if hard else lambda images: step.supernet.mixed(images, sampled)
        return Gradients([path], add_gradients(step, logits_of))

    def _architecture(self, rows: Tensor) -> Architecture:
        return self._space.architecture(rows.argmax(dim=-1).tolist())


def sample_relaxed(
    theta: Tensor, temperature: float, kept: Tensor, how: Sampling, generator: np.random.Generator
) -> Tensor:
    """Rows that sum to 1, from which a gradient flows back to theta.

    Gumbel-Max gives one-hot rows, drawn with the probabilities softmax(theta / temperature); their gradient is that of
    the Gumbel-softmax with the same noise (straight-through). Softmax draws nothing.

    Args:
        theta: shape (..., choices, options).
        kept: which options survive, bool of shape (choices, options).
        generator: the same on every worker, so that all draw the same.

    Returns:
        theta's shape.
    """
    if how == "softmax":
        return probabilities(theta, temperature, kept)
    noise = torch.from_numpy(generator.gumbel(size=tuple(theta.shape))).to(theta)
    soft = probabilities(theta + temperature * noise, temperature, kept)
    if how == "gumbel-softmax":
        return soft
    hard = torch.zeros_like(soft).scatter_(-1, soft.argmax(dim=-1, keepdim=True), 1.0)
    return hard + soft - soft.detach()
