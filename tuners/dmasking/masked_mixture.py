"""The updates of DMaskingNAS: Gumbel weights of all options, one forward pass of the masked mixture, and the loss.

Every option of a choice has a Gumbel weight g_i = softmax((theta + noise) / tau)_i. The options of channels are masks
M_i over the feature map b(x) of the widest block, so that its output is

    y = b(x) * sum_i g_i M_i

One forward pass serves all channels and expansions (`search_spaces.elastic.supernet.ElasticBlock.mixed`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from raynas.interfaces.objective import ARCHITECTURE, WEIGHTS, Gradients, Learner, Objective, TrainingStep, Update
from search_spaces.costs import kept_options
from tuners.darts.weighted_mixture import run_mixture
from tuners.dmasking.settings import MaskingSettings
from tuners.gumbel_softmax import gumbel_softmax, probabilities

if TYPE_CHECKING:
    from search_spaces import Architecture, Costs, SearchSpace

_MICROSECONDS = 1e3
"""Latency counts in microseconds, because log(cost) needs costs above 1. The other resources are above 1 anyway."""


class MaskedMixture(Objective, MaskingSettings):
    """The objective of the search.

    Attributes:
        resource: the cost of the loss: `macs`, `params` or `latency_ms`.
    """

    chooses: ClassVar[bool] = True

    resource: str = "macs"

    def begin(self, space: SearchSpace, costs: Costs, seed: int) -> MaskedMixtureLearner:
        return MaskedMixtureLearner(self, space, costs)


class MaskedMixtureLearner(Learner):
    """The logits of all options, uniform at first.

    Attributes:
        theta: shape (choices, most options of a choice).
        temperature: tau of the present epoch.
    """

    temperature: Tensor
    is_surviving: Tensor

    def __init__(self, settings: MaskedMixture, space: SearchSpace, costs: Costs) -> None:
        super().__init__()
        self._settings, self._space, self._costs = settings, space, costs
        most = max(len(choice.options) for choice in space.choices)
        self.theta = nn.Parameter(torch.zeros(len(space.choices), most))
        self.register_buffer("temperature", torch.tensor(settings.temperature, dtype=torch.float64))
        self.register_buffer("is_surviving", torch.from_numpy(kept_options(space.surviving, most)), persistent=False)

    def passes(self, epoch: int) -> Sequence[Sequence[Update]]:
        """Return a pass over training images, which moves the weights, and one over search images, which moves theta.

        The warm-up has only the first.
        """
        temperature = self._settings.temperature_at(epoch)
        self.temperature.fill_(temperature)
        weights = Update(WEIGHTS, "train", partial(self._move_weights, temperature))
        if epoch < self._settings.warmup_epochs:
            return [[weights]]
        return [[weights], [Update(ARCHITECTURE, "search", partial(self._move_theta, temperature))]]

    def groups(self) -> dict[str, torch.optim.Optimizer]:
        rate, decay = self._settings.architecture_learning_rate, self._settings.architecture_weight_decay
        return {ARCHITECTURE: torch.optim.Adam([self.theta], lr=rate, weight_decay=decay)}

    def log_probabilities(self) -> Tensor:
        """Return log softmax(theta), float64 of theta's shape, with -inf at pruned options."""
        return torch.log_softmax(self.theta.detach().double().masked_fill(~self.is_surviving, -torch.inf), dim=1)

    def most_probable(self) -> Architecture:
        return self._space.architecture(self.log_probabilities().argmax(dim=1).tolist())

    def probabilities(self) -> Tensor:
        return probabilities(self.theta.detach(), 1.0, self.is_surviving)

    def notes(self) -> dict[str, Any]:
        """Return the entropy of softmax(theta) in nats, and the temperature of the last epoch."""
        entropy = torch.special.entr(self.probabilities()).sum()
        return {"entropy": float(entropy), "temperature": float(self.temperature)}

    def cost_factor(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return alpha x log(cost)^beta, and the cost: the expected cost under the weights of the options.

        Args:
            weights: shape (choices, options); each row sums to 1.
        """
        cost = self._costs.expected(weights)[self._settings.resource]
        unit = _MICROSECONDS if self._settings.resource == "latency_ms" else 1.0
        return self._settings.cost_scale * torch.log(cost * unit) ** self._settings.cost_exponent, cost

    def _sample(self, temperature: float, step: TrainingStep) -> Tensor:
        return gumbel_softmax(self.theta, temperature, self.is_surviving, step.generator)

    def _move_weights(self, temperature: float, step: TrainingStep) -> Gradients:
        """Add the gradients of the cross-entropy; the cost does not depend on the weights."""
        return Gradients([], run_mixture(step, step.micro_batches, self._sample(temperature, step).detach()))

    def _move_theta(self, temperature: float, step: TrainingStep) -> Gradients:
        """Add the gradient of theta by the product of cross-entropy and cost factor.

        Cross-entropy CE and factor f both depend on the Gumbel weights g: d(CE f)/dg = f dCE/dg + CE df/dg. Both terms
        are linear in CE, so micro-batches and workers add up to the gradient of the whole batch.
        """
        weights = self._sample(temperature, step)
        # The micro-batches add their gradients to this leaf, so that one backward pass reaches theta.
        leaf = weights.detach().requires_grad_()
        metrics = run_mixture(step, step.micro_batches, leaf)
        factor, cost = self.cost_factor(weights)
        assert leaf.grad is not None
        torch.autograd.backward([weights, factor], [factor.detach() * leaf.grad, metrics["loss"].to(factor)])
        share = sum(batch.share for batch in step.micro_batches)
        return Gradients([], {**metrics, "cost": cost.detach() * share})
