"""HourNAS's two updates, by Gumbel-Max and by Gumbel-softmax, beside the sampled network alone: time and memory.

    python -m benchmarks.hour_nas.step_cost

All train on the same images: the network alone in a plain PyTorch loop, the others by the updates that a training
worker carries out, with eight proposals and two targets. For every sampled network they take turns, and each begins a
turn as often as the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

import search_spaces
from benchmarks.common.report import heading, table
from benchmarks.common.step_timing import RATE, SEED, Alone, Engine, Setting, saved_bytes, seconds
from raynas.interfaces.objective import ARCHITECTURE, WEIGHTS, TrainingStep, Update
from raynas.recipe.recipe import Recipe
from raynas.training.update import apply_update
from search_spaces import Architecture, SearchSpace
from tuners.hour_nas.sampled_path import SampledPath, Sampling

SAMPLINGS: tuple[Sampling, ...] = ("gumbel-max", "gumbel-softmax")
UPDATES = (WEIGHTS, ARCHITECTURE)
KINDS = ["alone", *(f"{sampling}, {update}" for sampling in SAMPLINGS for update in UPDATES)]
PROPOSALS = 8
TURNS = 5
"""Timed steps of each kind for a network, after one that is not timed; the quickest counts."""
_STILL = 1e-30
"""A rate at which Adam moves no architecture parameter, so that a seed draws the same network in every turn."""


def settings() -> list[Setting]:
    recipe = dict(Recipe.read("hour-nas-digits").space)
    small = search_spaces.load(recipe.pop("name"), **recipe, num_classes=10)
    large = search_spaces.load("fbnet", width=0.5, resolution=64, num_classes=10)
    macro = search_spaces.load("nas-bench-macro", width=0.5, num_classes=10)
    return [
        Setting("fbnet as in hour-nas-digits", small, 32, 8),
        Setting("fbnet, width 0.5, 64 pixels", large, 32, 6),
        Setting("nas-bench-macro, width 0.5", macro, 32, 6),
    ]


class Searching(Engine):
    """A worker's updates of HourNAS's second stage, on the whole space."""

    def __init__(self, space: SearchSpace, images: Tensor, labels: Tensor, sampling: Sampling) -> None:
        super().__init__(space, images, labels)
        objective = SampledPath(
            targets=mean_cost(space),
            proposals=PROPOSALS,
            sampling=sampling,
            temperature_decay=1.0,
            architecture_learning_rate=_STILL,
        )
        self.learner = objective.begin(space, space.costs(), SEED)
        self.optimizers.update(self.learner.groups())

    def update(self, which: str, seed: int) -> None:
        """One update, of `weights` or of `architecture`, on the network that the seed draws."""
        apply_update(self._updates()[which], self.optimizers, RATE, self._step(seed))

    def network(self, seed: int) -> Architecture:
        """The network that the seed draws."""
        (path,) = self._updates()[WEIGHTS].accumulate(self._step(seed)).paths
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        return path

    def _updates(self) -> dict[str, Update]:
        return {update.parameters: update for updates in self.learner.passes(0) for update in updates}

    def _step(self, seed: int) -> TrainingStep:
        return TrainingStep(
            self.space, self.supernet, [self.batch], np.random.default_rng(seed), functional.cross_entropy
        )


def mean_cost(space: SearchSpace) -> dict[str, float]:
    """Of a uniformly drawn architecture: targets that are in reach."""
    costs = space.costs().as_table()
    kept = costs.kept.double()
    return {name: float(cost) for name, cost in costs.expected(kept / kept.sum(dim=-1, keepdim=True)).items()}


@dataclass(frozen=True)
class Measured:
    """What the steps of one sampled network took, in the order of `KINDS`."""

    seconds: list[float]
    saved_bytes: list[int]


def measure(setting: Setting) -> Iterator[Measured]:
    """Measure every network; which kind goes first changes from turn to turn."""
    torch.manual_seed(SEED)
    space = setting.space
    images = torch.randn(setting.batch_size, 3, space.resolution, space.resolution)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.randint(0, space.num_classes, (setting.batch_size,))
    engines = [Searching(space, images, labels, sampling) for sampling in SAMPLINGS]
    for engine in engines:
        engine.supernet.train()
    for number in range(setting.architectures):
        alone = Alone(engines[0], engines[0].network(number))
        steps: list[Callable[[], None]] = [alone.step]
        steps += [partial(engine.update, which, number) for engine in engines for which in UPDATES]
        saved = [saved_bytes(one) for one in steps]
        taken: list[list[float]] = [[] for _ in steps]
        for turn in range(TURNS):
            for position in range(len(steps)):
                kind = (position + turn) % len(steps)
                taken[kind].append(seconds(steps[kind]))
        yield Measured([min(one) for one in taken], saved)


def rows(measured: Sequence[Measured]) -> Iterator[list[str]]:
    """A row for each kind of step: the quickest of its turns, and time and memory against the network alone's."""
    times = np.array([one.seconds for one in measured])
    saved = np.array([one.saved_bytes for one in measured])
    for kind, label in enumerate(KINDS):
        slower, larger = times[:, kind] / times[:, 0], saved[:, kind] / saved[:, 0]
        low, middle, high = np.percentile(slower, [10, 50, 90])
        yield [
            label,
            f"{1000 * np.median(times[:, kind]):.1f}",
            f"{middle:.2f} ({low:.2f} to {high:.2f})",
            f"{np.median(saved[:, kind]) / 1e6:.2f}",
            f"{np.median(larger):.3f} (at most {larger.max():.3f})",
        ]


def main() -> None:
    torch.set_num_threads(1)
    heading("HourNAS's updates beside the sampled network alone", f"{SEED}; each network by its own number")
    print("Batches of 32, one thread, eight proposals, two targets. `ms`: median over the sampled networks of the")
    print(
        "quickest of five steps; `times`: against the same network alone, median (10th to 90th percentile); `MB`: what"
    )
    print("the forward pass keeps for the backward pass, parameters aside; `activations`: against the network alone.\n")
    for setting in settings():
        options = max(map(len, setting.space.surviving))
        print(f"{setting.name}: {options} options a choice, {setting.architectures} sampled networks.\n")
        table(("step", "ms", "times", "MB", "activations"), rows(list(measure(setting))))


if __name__ == "__main__":
    main()
