"""Known losses of architectures, on which FP-NAS's distribution learns without a supernet.

A loss has a spread of 0.3 nats over random architectures. So a likelihood scale means the same in every landscape.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.common.oracles import TableOracle
from search_spaces import Budget, SearchSpace, load
from tuners.fp_nas.distribution import partition
from tuners.fp_nas.drawn_paths import DrawnPaths, DrawnPathsLearner
from tuners.most_probable import find_most_probable

SPREAD = 0.3
"""Standard deviation of the loss over random architectures, in nats."""
STEPS_OF_EPOCH = 31
"""The paper's training steps of an epoch: 64,000 images in batches of 2,048."""
_DRAWS = 4000


class Landscape(ABC):
    """A space, a budget, and the quality of each of its architectures (higher is better).

    Attributes:
        unit: the unit of the quality.
    """

    unit: str

    def __init__(self, space: SearchSpace, budget_macs: float) -> None:
        self.space, self.costs = space, space.costs()
        self.budget = Budget.model_validate({"macs": {"max": budget_macs}})
        draws = self.draw(_DRAWS, 0)
        quality = self.quality(draws)
        self._mean, self._std = float(quality.mean()), float(quality.std())
        within = self.budget.met(self.costs.total(draws))
        self.within, self.within_quality = draws[within], quality[within]

    @abstractmethod
    def quality(self, indices: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the quality of architectures, given as option indices of shape (architectures, choices)."""

    def losses(self, indices: NDArray[np.int64]) -> torch.Tensor:
        """Return the losses in nats, shape (architectures,)."""
        return torch.from_numpy(SPREAD * (self._mean - self.quality(indices)) / self._std).float()

    def draw(self, count: int, seed: int) -> NDArray[np.int64]:
        """Draw architectures uniformly."""
        generator = np.random.default_rng(seed)
        return np.array([self.space.sample(generator).indices for _ in range(count)])

    def as_good(self, quality: float) -> float:
        """Return the share of random architectures within the budget that are at least as good, in per cent."""
        return 100 * float((self.within_quality >= quality).mean())

    def macs(self, indices: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(self.costs.total(indices)["macs"], dtype=float)


class MacroLandscape(Landscape):
    """NAS-Bench-Macro: true accuracies; the budget is the median cost."""

    unit = "%"

    def __init__(self) -> None:
        oracle = TableOracle(load("nas-bench-macro", num_classes=10))
        self._accuracy = oracle.accuracy
        costs = oracle.costs.total(np.array(list(self._accuracy)))["macs"]
        super().__init__(oracle.space, float(np.quantile(costs, 0.5, method="lower")))

    def quality(self, indices: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.array([self._accuracy[tuple(row)] for row in indices.tolist()])


class SyntheticLandscape(Landscape):
    """The paper's space at 128 pixels with a made-up table for each row of blocks; the budget is the paper's 60 M.

    Half of a row's variance belongs to its choices alone, half to their combination. Costlier architectures are better:
    a standard deviation of log multiply-adds counts as much as the tables together.
    """

    unit = "standard deviations"

    def __init__(self) -> None:
        space = load("fbnetv2-f", resolution=128, num_classes=100)
        self._factors, choices = partition(space, "joint"), partition(space, "factorised")
        generator = np.random.default_rng(7)
        rows, options = len(self._factors.sizes), len(choices.sizes)
        scale = np.sqrt(0.5 / options), np.sqrt(0.5 / rows)
        self._own = generator.normal(0, scale[0], (options, max(choices.sizes)))
        self._joint = generator.normal(0, scale[1], (rows, max(self._factors.sizes)))
        self._costs = space.costs()
        drawn = np.random.default_rng(8)
        logs = np.log(self._costs.total(np.array([space.sample(drawn).indices for _ in range(_DRAWS)]))["macs"])
        self._log_macs = float(logs.mean()), float(logs.std())
        super().__init__(space, 60e6)

    def quality(self, indices: NDArray[np.int64]) -> NDArray[np.float64]:
        combinations = self._factors.combinations(torch.from_numpy(indices)).numpy()
        own = self._own[np.arange(indices.shape[1]), indices].sum(axis=1)
        joint = self._joint[np.arange(combinations.shape[1]), combinations].sum(axis=1)
        mean, std = self._log_macs
        size = (np.log(self._costs.total(indices)["macs"]) - mean) / std
        return np.asarray(own + joint + size)


@dataclass(frozen=True)
class Learned:
    """A distribution after its updates.

    Attributes:
        row: figures of the chosen architecture within the budget.
        epochs: for each epoch its entropy, K, quality of the most probable architecture, and samples so far.
    """

    row: dict[str, Any]
    epochs: list[dict[str, Any]]


def learn(landscape: Landscape, settings: DrawnPaths, updates: int, joint_from: int, seed: int) -> Learned:
    """Learn a distribution from known losses.

    Args:
        settings: their `warmup_epochs` must be 0, because without weights nothing warms up.
        joint_from: the first update of a joint distribution, under the schedule `mixed`.
    """
    targets = {"macs": landscape.budget.root["macs"].max or 0.0}
    settings = settings.model_copy(update={"targets": targets})
    learner = DrawnPathsLearner(settings, landscape.space, landscape.costs)
    (optimizer,) = learner.groups().values()
    generator, epochs = np.random.default_rng(seed), []
    for update in range(updates):
        if settings.distribution == "mixed" and update == joint_from:
            learner.distribution.become_joint()
        sample = learner.draw(generator)
        torch.autograd.backward(learner.surrogate_loss(sample, landscape.losses(sample.indices.numpy())))
        optimizer.step()
        optimizer.zero_grad()
        if update % STEPS_OF_EPOCH == 0 or update == updates - 1:
            mode = np.array([learner.most_probable().indices])
            quality = float(landscape.quality(mode)[0])
            epochs.append({"update": update, "most_probable": quality, **learner.notes()})
    factors, alpha = learner.distribution.factors, learner.distribution.alpha
    log_probabilities = factors.log_probabilities(alpha.detach().double())
    found, _ = find_most_probable(log_probabilities, factors.indices, landscape.costs, landscape.budget)
    chosen = landscape.within[:1] if found is None else found.numpy()[None]
    figures = {"quality": float(landscape.quality(chosen)[0]), "macs": float(landscape.macs(chosen)[0])}
    return Learned({**figures, **learner.notes()}, epochs)
