"""One training step of FP-NAS: draw K architectures, and move the distribution and the weights by their likelihoods.

    equation 4: K follows from the entropy (`sample_size.AdaptiveSampling`, called in `_draw`)
    equation 7: on a validation batch the gradient of the distribution (`_move_distribution`)
    equation 3: on a training batch the gradient of the weights (`_move_weights`)

Networks run one after the other, so that a step holds the activations of one network. The workers share the networks of
a step, and the images of the networks that are left over. A network that was drawn several times runs once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

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
from tuners.fp_nas.distribution import Distribution
from tuners.fp_nas.importance import WeightedGradientSum, hinge_cost, importance, log_likelihoods
from tuners.fp_nas.settings import SamplingSettings
from tuners.fp_nas.shared_networks import share_networks

if TYPE_CHECKING:
    import numpy as np

    from search_spaces import Architecture, Costs, SearchSpace


class DrawnPaths(Objective, SamplingSettings):
    """The objective of FP-NAS's search.

    Attributes:
        targets: TAR of equation 6 by resource. Without targets, cost does not count.
    """

    chooses: ClassVar[bool] = True

    targets: dict[str, float] = Field(default_factory=dict)

    def begin(self, space: SearchSpace, costs: Costs, seed: int) -> DrawnPathsLearner:
        return DrawnPathsLearner(self, space, costs)


class Sample(NamedTuple):
    """The architectures that a training step has drawn.

    Attributes:
        architectures: the distinct architectures.
        indices: their option indices, shape (distinct, choices).
        multiplicity: how often each was drawn, shape (distinct,).
    """

    architectures: list[Architecture]
    indices: Tensor
    multiplicity: Tensor


class DrawnPathsLearner(Learner):
    """The distribution, and counts of the architectures drawn.

    Attributes:
        sample_size: K of the last training step.
        total_samples: the number of architectures drawn since the first step.
    """

    sample_size: Tensor
    total_samples: Tensor

    def __init__(self, settings: DrawnPaths, space: SearchSpace, costs: Costs) -> None:
        super().__init__()
        self._settings, self._space, self._costs = settings, space, costs
        self.distribution = Distribution(space, settings.distribution)
        self.register_buffer("sample_size", torch.ones((), dtype=torch.int64))
        self.register_buffer("total_samples", torch.zeros((), dtype=torch.int64))

    def passes(self, epoch: int) -> Sequence[Sequence[Update]]:
        if epoch < self._settings.warmup_epochs:
            if self._settings.warmup_samples == 1:
                return [[Update(WEIGHTS, "train", self._warm_up)]]
            return [[Update(WEIGHTS, "train", self._warm_up_several, spread=True)]]
        is_joint = bool(self.distribution.is_joint)
        if self._settings.distribution == "mixed" and epoch >= self._settings.joint_from and not is_joint:
            self.distribution.become_joint()
        distribution = Update(ARCHITECTURE, "search", self._move_distribution, spread=True)
        return [[distribution, Update(WEIGHTS, "train", self._move_weights, spread=True)]]

    def groups(self) -> dict[str, torch.optim.Optimizer]:
        logits = self.distribution.logits.values()
        return {ARCHITECTURE: torch.optim.Adam(logits, lr=self._settings.architecture_learning_rate)}

    def most_probable(self) -> Architecture:
        return self.distribution.most_probable()

    def networks(self, epoch: int) -> int | None:
        if epoch < self._settings.warmup_epochs or not self._settings.return_workers:
            return None
        return self._settings.sample_size(self.distribution.entropy())

    def probabilities(self) -> Tensor:
        return self.distribution.marginals()

    def notes(self) -> dict[str, Any]:
        """Return the entropy in nats, K of the last training step, and the number of architectures drawn so far."""
        return {
            "entropy": self.distribution.entropy(),
            "sample_size": int(self.sample_size),
            "total_samples": int(self.total_samples),
            "distribution": self.distribution.kind,
        }

    def draw(self, generator: np.random.Generator) -> Sample:
        """Draw K architectures, with K of equation 4."""
        return self._draw(self._settings.sample_size(self.distribution.entropy()), generator)

    def surrogate_loss(self, sample: Sample, losses: Tensor) -> Tensor:
        """Return the sum over samples of -m_k log P(A_k | alpha), whose gradient is that of equation 7.

        Args:
            losses: of each distinct architecture on a validation batch, shape (distinct,).
        """
        likelihoods = log_likelihoods(losses, sample.multiplicity, self._settings.likelihood_scale).softmax(dim=0)
        hinge_costs = hinge_cost(self._costs.total(sample.indices.cpu().numpy()), self._settings.targets).to(losses)
        weights = importance(likelihoods, sample.multiplicity * hinge_costs, self._settings.cost_weight)
        return -(weights * self.distribution.log_probability(sample.indices)).sum()

    def _warm_up(self, step: TrainingStep) -> Gradients:
        """Run one uniformly drawn path; each worker runs it on the worker's share of the images."""
        path = self._space.sample(step.generator)
        self.total_samples += 1
        return Gradients([path], _run(path, step))

    def _warm_up_several(self, step: TrainingStep) -> Gradients:
        """Run several networks of the first distribution, which is uniform, and move the weights by equation 3."""
        self._sample = self._draw(self._settings.warmup_samples, step.generator)
        return self._move_weights(step)

    def _draw(self, count: int, generator: np.random.Generator) -> Sample:
        self.sample_size.fill_(count)
        self.total_samples += count
        indices = self.distribution.sample(count, generator)
        distinct, multiplicity = torch.unique(indices, dim=0, return_counts=True)
        return Sample([self._space.architecture(row) for row in distinct.tolist()], distinct, multiplicity)

    def _move_distribution(self, step: TrainingStep) -> Gradients:
        """Add the gradient of alpha: the sum over samples of -m_k grad log P(A_k | alpha) (equation 7)."""
        self._sample = sample = self.draw(step.generator)
        with torch.no_grad():
            losses, top1 = self._run_shared(step, lambda number, losses: None)
        torch.autograd.backward(self.surrogate_loss(sample, losses) / step.workers)
        entropy = torch.tensor(self.distribution.entropy(), device=losses.device)
        metrics = {"entropy": entropy, "sample_size": sample.multiplicity.sum().float()}
        return _gradients(sample, step, losses, top1, metrics)

    def _move_weights(self, step: TrainingStep) -> Gradients:
        """Add the gradient of the weights: the gradient of the logarithm of the mean likelihood (equation 3)."""
        gradient_sum = WeightedGradientSum(step.supernet.parameters())
        scale = self._settings.likelihood_scale

        def add(number: int, losses: Tensor) -> None:
            multiplicity = self._sample.multiplicity[number]
            gradient_sum.add(float(log_likelihoods(losses[number], multiplicity, scale)))

        losses, top1 = self._run_shared(step, add)
        gradient_sum.finish(float(log_likelihoods(losses, self._sample.multiplicity, scale).logsumexp(dim=0)))
        return _gradients(self._sample, step, losses, top1, {})

    def _run_shared(self, step: TrainingStep, add: Callable[[int, Tensor], None]) -> tuple[Tensor, Tensor]:
        """Run the networks of the sample on the workers, and return all losses and top-1 accuracies on every worker.

        A worker runs whole networks first. If the number of networks is no multiple of the workers, the workers share
        the images of the last ones (`share_networks`).

        Args:
            add: called after each network of this worker, with its number and the losses known so far. The loss of a
                network whose images are shared is known only after the sum over the workers.
        """
        whole, shared = share_networks(len(self._sample.architectures), step)
        measured = torch.zeros(2, len(self._sample.architectures), device=step.micro_batches[0].images.device)
        for number in whole:
            measured[:, number] = self._run(number, step)
            add(number, measured[0])
        if shared is not None:
            measured[:, shared.number] = self._run(shared.number, replace(step, micro_batches=shared.micro_batches))
        losses, top1 = step.sum_over_workers(measured)
        if shared is not None:
            add(shared.number, losses)
        return losses, top1

    def _run(self, number: int, step: TrainingStep) -> Tensor:
        metrics = _run(self._sample.architectures[number], step)
        return torch.stack([metrics["loss"], metrics["top1"]])


def _run(path: Architecture, step: TrainingStep) -> dict[str, Tensor]:
    """Return loss and top-1 accuracy of one network on these images, each times their share of the batch."""
    return add_gradients(step, lambda images: step.supernet(images, path))


def _gradients(
    sample: Sample, step: TrainingStep, losses: Tensor, top1: Tensor, metrics: dict[str, Tensor]
) -> Gradients:
    """Return this worker's share of the metrics; every worker knows all of them."""
    share = sample.multiplicity / sample.multiplicity.sum()
    means = {"loss": (share * losses).sum(), "top1": (share * top1).sum()}
    return Gradients(sample.architectures, {name: value / step.workers for name, value in {**means, **metrics}.items()})
