"""The updates of both searches of HourNAS's algorithm 1: each samples a network A and moves parameters by its loss.

`ProposalsLearner.passes` holds lines 4 to 9 (vital blocks) and lines 14 to 21 (non-vital blocks) of the algorithm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from pydantic import Field
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
from tuners.gumbel_softmax import gumbel_noise, gumbel_softmax, probabilities
from tuners.hour_nas.proposals import fit, mix, target_distance
from tuners.hour_nas.settings import PathSampling, Sampling

if TYPE_CHECKING:
    from search_spaces import Architecture, Costs, SearchSpace
    from search_spaces.costs import TableCosts


class SampledPath(Objective, PathSampling):
    """The objective of one search.

    Attributes:
        targets: T_i by resource; empty in the search of the vital blocks, where cost does not matter.
        proposals: m, the number of distributions that are learnt side by side. With targets they begin as proposals
            that meet the targets, without targets they begin uniform.
    """

    chooses: ClassVar[bool] = True

    targets: dict[str, float] = Field(default_factory=dict)
    proposals: int = Field(default=1, ge=1)

    def begin(self, space: SearchSpace, costs: Costs, seed: int) -> Learner:
        return ProposalsLearner(self, space, costs.as_table(), seed)


class ProposalsLearner(Learner):
    """Theta, m distributions over architectures, and pi, one distribution over the m proposals (equations 8 and 9)."""

    iterations: Tensor
    progress: Tensor

    def __init__(self, settings: SampledPath, space: SearchSpace, costs: TableCosts, seed: int) -> None:
        super().__init__()
        self._settings, self._space, self._costs = settings, space, costs
        self._surviving = torch.from_numpy(costs.kept)
        start = (
            fit(costs, settings.targets, settings.proposals, seed, settings.proposal_fit)
            if settings.targets
            else torch.zeros(settings.proposals, *self._surviving.shape)
        )
        self.theta = nn.Parameter(start.float())
        self.pi = nn.Parameter(torch.zeros(settings.proposals))
        self.register_buffer("iterations", torch.zeros((), dtype=torch.int64))
        self.register_buffer("progress", torch.zeros((), dtype=torch.float64))

    def passes(self, epoch: int) -> Sequence[Sequence[Update]]:
        """Return the passes of lines 4 to 9, or of lines 14 to 21: over training batches, then validation batches."""
        weights = Update(WEIGHTS, "train", self._move_weights)
        architecture = Update(ARCHITECTURE, "search", self._move_architecture)
        if self._settings.alternate == "batch":
            return [[weights, architecture]]
        return [[weights], [architecture]]

    def groups(self) -> dict[str, torch.optim.Optimizer]:
        return {ARCHITECTURE: torch.optim.Adam([self.theta, self.pi], lr=self._settings.architecture_learning_rate)}

    @property
    def temperature(self) -> float:
        return self._settings.temperature.at(int(self.iterations), float(self.progress))

    def most_probable(self) -> Architecture:
        """Return the most probable operations of the most probable proposal (line 22)."""
        return self._architecture(self._most_probable_logits())

    def probabilities(self) -> Tensor:
        """Return the probabilities of operations in the most probable proposal."""
        return self._most_probable_logits().detach().softmax(dim=1)

    def notes(self) -> dict[str, Any]:
        return {"proposal": int(self.pi.argmax()), "temperature": self.temperature}

    def _most_probable_logits(self) -> Tensor:
        """Return theta of the most probable proposal, with -inf at pruned options."""
        return self.theta[self.pi.argmax()].masked_fill(~self._surviving.to(self.theta.device), -torch.inf)

    def _sample(self, step: TrainingStep) -> Tensor:
        """Return A of equation 9, shape (choices, options): rows of one proposal's operations, or of a mixture."""
        sampling, surviving = self._settings.sampling, self._surviving.to(self.theta.device)
        self.progress.fill_(step.progress)
        all_proposals = torch.ones(1, len(self.pi), dtype=torch.bool, device=self.pi.device)
        pi = sample_relaxed(self.pi[None], self.temperature, all_proposals, sampling, step.generator)[0]
        sampled = mix(pi, sample_relaxed(self.theta, self.temperature, surviving, sampling, step.generator))
        self.iterations += 1
        return sampled

    def _move_weights(self, step: TrainingStep) -> Gradients:
        """Sample a network and add the gradients of the weights (lines 5 and 16)."""
        return self._gradients(step, self._sample(step).detach())

    def _move_architecture(self, step: TrainingStep) -> Gradients:
        """Sample a network and add the gradients of pi and Theta by the loss of equation 10 (lines 8 and 19)."""
        sampled = self._sample(step)
        # The micro-batches add their gradients to this leaf, so that one backward pass reaches pi and Theta.
        leaf = sampled.detach().requires_grad_()
        gradients = self._gradients(step, leaf)
        if self._settings.targets:
            share = sum(batch.share for batch in step.micro_batches)
            distance = self._settings.slope * target_distance(self._costs, sampled, self._settings.targets)
            torch.autograd.backward(distance * share, retain_graph=True)
            gradients.metrics["distance"] = distance.detach() * share
        torch.autograd.backward(sampled, leaf.grad)
        return gradients

    def _gradients(self, step: TrainingStep, sampled: Tensor) -> Gradients:
        path = self._architecture(sampled)

        def run_path(images: Tensor) -> Tensor:
            rows = torch.arange(len(sampled), device=sampled.device)
            options = torch.tensor(path.indices, device=sampled.device)
            logits: Tensor = step.supernet(images, path, sampled[rows, options] if sampled.requires_grad else None)
            return logits

        is_one_hot = self._settings.sampling == "gumbel-max"
        logits_of = run_path if is_one_hot else lambda images: step.supernet.mixed(images, sampled)
        return Gradients([path], add_gradients(step, logits_of))

    def _architecture(self, rows: Tensor) -> Architecture:
        return self._space.architecture(rows.argmax(dim=-1).tolist())


def sample_relaxed(
    theta: Tensor, temperature: float, surviving: Tensor, sampling: Sampling, generator: np.random.Generator
) -> Tensor:
    """Return rows that sum to 1, from which a gradient flows back to theta.

    With Gumbel noise g, the three readings of A in equation 4 are:

    - softmax: softmax(theta / temperature). It draws nothing.
    - Gumbel-softmax: softmax((theta + g) / temperature), as in FBNet and GDAS. A falling temperature turns mixtures
      into single options, drawn with the probabilities softmax(theta).
    - Gumbel-Max: one-hot rows, drawn with the probabilities softmax(theta / temperature). A falling temperature
      sharpens the draws, as figure 3 shows. The gradient is that of softmax(theta / temperature + g), with equal noise
      (straight-through).

    Args:
        theta: shape (..., choices, options).
        surviving: which options survive, bool of shape (choices, options).
        generator: in the same state on every worker, so that all workers draw equal noise.

    Returns:
        A tensor of theta's shape.
    """
    if sampling == "softmax":
        return probabilities(theta, temperature, surviving)
    if sampling == "gumbel-softmax":
        return gumbel_softmax(theta, temperature, surviving, generator)
    soft = probabilities(theta + temperature * gumbel_noise(theta, generator), temperature, surviving)
    hard = torch.zeros_like(soft).scatter_(-1, soft.argmax(dim=-1, keepdim=True), 1.0)
    return hard + soft - soft.detach()
