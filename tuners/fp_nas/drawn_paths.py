"""What FP-NAS trains: a distribution over architectures and the weights of those that it draws (equations 3 to 7).

A step draws K architectures. Their likelihoods on one validation batch weigh the gradient of the distribution, their
likelihoods on one training batch that of the weights. Networks run one after the other, so that a step holds the
activations of one; the workers share the networks of a step, and equal ones run once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, cast

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
from tuners.fp_nas.distribution import Factors, Kind, factors_of, joined
from tuners.fp_nas.importance import WeighedGradients, importance, log_likelihoods, over_target
from tuners.fp_nas.sample_count import EntropySamples, Samples

if TYPE_CHECKING:
    from search_spaces import Architecture, Costs, SearchSpace

Schedule = Literal["joint", "factorised", "mixed"]
_KINDS: dict[Schedule, tuple[Kind, ...]] = {
    "joint": ("joint",),
    "factorised": ("factorised",),
    "mixed": ("factorised", "joint"),
}


class Drawing(BaseModel):
    """How FP-NAS draws and learns (section 3): settings of the method as of its objective.

    Attributes:
        warmup_epochs: at the beginning, in which one uniformly drawn architecture a step moves the weights alone.
        samples: how many architectures a step draws after that.
        distribution: `mixed` is factorised before epoch `joint_from`, theta, and joint from there on.
        cost_weight: beta of equation 6.
        likelihood_scale: s; the likelihood of a batch is taken for exp(-s x its mean cross-entropy).
        architecture_learning_rate: Adam's, of the distribution.
    """

    warmup_epochs: int = Field(default=45, ge=0)
    samples: Samples = EntropySamples(per_nat=0.25)
    distribution: Schedule = "mixed"
    joint_from: int = Field(default=80, ge=0)
    cost_weight: float = Field(default=0.3, ge=0)
    likelihood_scale: float = Field(default=1.0, gt=0)
    architecture_learning_rate: float = Field(default=0.016, gt=0)


class DrawnPaths(Objective, Drawing):
    """What FP-NAS trains.

    Attributes:
        targets: TAR of equation 6 by resource; where there is none, cost does not count.
    """

    chooses: ClassVar[bool] = True

    targets: dict[str, float] = Field(default_factory=dict)

    def begin(self, space: SearchSpace, costs: Costs, seed: int) -> Distribution:
        return Distribution(self, space, costs)


class Drawn(NamedTuple):
    """What a step has drawn: distinct architectures, as indices too, and how often each came, shape (distinct,)."""

    architectures: list[Architecture]
    indices: Tensor
    often: Tensor


class Distribution(Learner):
    """P(A | alpha). `logits` holds alpha for each kind of distribution that the schedule has; one is in use."""

    is_joint: Tensor
    count: Tensor
    drawn_in_all: Tensor

    def __init__(self, settings: DrawnPaths, space: SearchSpace, costs: Costs) -> None:
        super().__init__()
        self._settings, self._space, self._costs = settings, space, costs
        kinds = _KINDS[settings.distribution]
        self._factors = nn.ModuleDict({kind: factors_of(space, kind) for kind in kinds})
        self.logits = nn.ParameterDict({kind: nn.Parameter(self._factors_of(kind).uniform()) for kind in kinds})
        self.register_buffer("is_joint", torch.tensor(kinds[0] == "joint"))
        self.register_buffer("count", torch.ones((), dtype=torch.int64))
        self.register_buffer("drawn_in_all", torch.zeros((), dtype=torch.int64))

    def passes(self, epoch: int) -> Sequence[Sequence[Update]]:
        if epoch < self._settings.warmup_epochs:
            return [[Update(WEIGHTS, "train", self._warm_up)]]
        if self._settings.distribution == "mixed" and epoch >= self._settings.joint_from and not self.is_joint:
            self._join()
        distribution = Update(ARCHITECTURE, "search", self._move_distribution, spread=True)
        return [[distribution, Update(WEIGHTS, "train", self._move_weights, spread=True)]]

    def groups(self) -> dict[str, torch.optim.Optimizer]:
        return {ARCHITECTURE: torch.optim.Adam(self.logits.values(), lr=self._settings.architecture_learning_rate)}

    @property
    def kind(self) -> Kind:
        return "joint" if self.is_joint else "factorised"

    @property
    def factors(self) -> Factors:
        return self._factors_of(self.kind)

    def most_probable(self) -> Architecture:
        """The mode of the distribution."""
        return self._space.architecture(self.factors.mode(self.logits[self.kind]).tolist())

    def networks(self, epoch: int) -> int | None:
        return None if epoch < self._settings.warmup_epochs else self._settings.samples(self.entropy())

    def entropy(self) -> float:
        with torch.no_grad():
            return float(self.factors.entropy(self.logits[self.kind]))

    def probabilities(self) -> Tensor:
        return self.factors.marginals(self.logits[self.kind].detach())

    def notes(self) -> dict[str, Any]:
        """After an epoch: the entropy in nats, K of the last step, the architectures drawn since the first."""
        drawn = {"samples": int(self.count), "drawn": int(self.drawn_in_all)}
        return {"entropy": self.entropy(), **drawn, "distribution": self.kind}

    def _factors_of(self, kind: Kind) -> Factors:
        return cast(Factors, self._factors[kind])

    def _join(self) -> None:
        """Section 3.3: from the factorised to the joint distribution, with which Adam begins anew."""
        with torch.no_grad():
            fine = self.logits["factorised"]
            self.logits["joint"].copy_(joined(fine, self._factors_of("factorised"), self._factors_of("joint")))
        self.is_joint.fill_(True)

    def _warm_up(self, step: TrainingStep) -> Gradients:
        """One uniform path, of which each worker sees its share of the images."""
        path = self._space.sample(step.generator)
        self.drawn_in_all += 1
        return Gradients([path], _run(path, step))

    def _move_distribution(self, step: TrainingStep) -> Gradients:
        """Equation 7."""
        self._drawn = drawn = self._draw(step)
        with torch.no_grad():
            losses, top1 = _share_out(drawn, step, lambda path: _run(path, step))
        likelihoods = log_likelihoods(losses, drawn.often, self._settings.likelihood_scale).softmax(dim=0)
        over = over_target(self._costs.total(drawn.indices.cpu()), self._settings.targets).to(losses)
        weights = importance(likelihoods, drawn.often * over, self._settings.cost_weight)
        log_probability = self.factors.log_probability(self.logits[self.kind], drawn.indices)
        torch.autograd.backward(-(weights * log_probability).sum() / step.workers)
        told = {"entropy": torch.tensor(self.entropy()), "samples": drawn.often.sum().float()}
        return _gradients(drawn, step, losses, top1, told)

    def _draw(self, step: TrainingStep) -> Drawn:
        count = self._settings.samples(self.entropy())
        self.count.fill_(count)
        self.drawn_in_all += count
        indices = self.factors.sample(self.logits[self.kind], count, step.generator)
        distinct, often = torch.unique(indices, dim=0, return_counts=True)
        return Drawn([self._space.architecture(one) for one in distinct.tolist()], distinct, often)

    def _move_weights(self, step: TrainingStep) -> Gradients:
        """Equation 3: the gradient of the logarithm of the mean likelihood."""
        gathered = WeighedGradients(step.supernet.parameters())
        scale = self._settings.likelihood_scale

        def run(path: Architecture) -> dict[str, Tensor]:
            metrics = _run(path, step)
            often = self._drawn.often[self._drawn.architectures.index(path)]
            gathered.add(float(log_likelihoods(metrics["loss"], often, scale)))
            return metrics

        losses, top1 = _share_out(self._drawn, step, run)
        gathered.finish(float(log_likelihoods(losses, self._drawn.often, scale).logsumexp(dim=0)))
        return _gradients(self._drawn, step, losses, top1, {})


def _share_out(
    drawn: Drawn, step: TrainingStep, run: Callable[[Architecture], dict[str, Tensor]]
) -> tuple[Tensor, Tensor]:
    """Losses and top-1 accuracies of what has been drawn, each of which one worker runs."""
    found = torch.zeros(2, len(drawn.architectures), device=step.micro_batches[0].images.device)
    for number in range(step.rank, len(drawn.architectures), step.workers):
        metrics = run(drawn.architectures[number])
        found[:, number] = torch.stack([metrics["loss"], metrics["top1"]])
    losses, top1 = step.sum_over_workers(found)
    return losses, top1


def _run(path: Architecture, step: TrainingStep) -> dict[str, Tensor]:
    """Loss and top-1 accuracy of one network on the images that the worker was given."""
    return add_gradients(step, lambda images: step.supernet(images, path))


def _gradients(drawn: Drawn, step: TrainingStep, losses: Tensor, top1: Tensor, told: dict[str, Tensor]) -> Gradients:
    """Metrics that every worker knows, as this one's share of them."""
    share = drawn.often / drawn.often.sum()
    means = {"loss": (share * losses).sum(), "top1": (share * top1).sum()}
    return Gradients(drawn.architectures, {name: value / step.workers for name, value in {**means, **told}.items()})
