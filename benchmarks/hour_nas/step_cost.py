"""What time and memory do HourNAS's updates by Gumbel-Max and Gumbel-softmax take, beside the sampled network alone?

    python -m benchmarks.hour_nas.step_cost

All train on the same images. The network alone trains in a plain PyTorch loop; the updates are those of a training
worker, with eight proposals and two targets. They take turns for every sampled network, and each begins equally often.

Prints a table for each of three spaces: milliseconds, activations, and both beside the network alone.
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
from benchmarks.common.arguments import command_parser
from benchmarks.common.report import print_heading, print_table
from benchmarks.common.step_timing import RATE, SEED, Engine, PlainLoop, TimedSetting, saved_bytes, seconds
from raynas.interfaces.objective import ARCHITECTURE, WEIGHTS, TrainingStep, Update
from raynas.recipe.recipe import Recipe
from raynas.training.update import apply_update
from search_spaces import Architecture, SearchSpace
from tuners.hour_nas.sampled_path import SampledPath
from tuners.hour_nas.settings import Sampling, Temperature

SAMPLINGS: tuple[Sampling, ...] = ("gumbel-max", "gumbel-softmax")
UPDATES = (WEIGHTS, ARCHITECTURE)
KINDS = ["alone", *(f"{sampling}, {update}" for sampling in SAMPLINGS for update in UPDATES)]
PROPOSALS = 8
TURNS = 5
"""Timed steps of each kind for a network, after one step without timing. The quickest counts."""
_STILL = 1e-30
"""A rate at which Adam changes no architecture parameter, so that a seed draws the same network in every turn."""


def settings() -> list[TimedSetting]:
    """Return the spaces to measure."""
    recipe = dict(Recipe.read("hour-nas-digits").space)
    small = search_spaces.load(recipe.pop("name"), **recipe, num_classes=10)
    large = search_spaces.load("fbnet", width=0.5, resolution=64, num_classes=10)
    macro = search_spaces.load("nas-bench-macro", width=0.5, num_classes=10)
    return [
        TimedSetting("fbnet as in hour-nas-digits", small, 32, 8),
        TimedSetting("fbnet, width 0.5, 64 pixels", large, 32, 6),
        TimedSetting("nas-bench-macro, width 0.5", macro, 32, 6),
    ]


class SecondStage(Engine):
    """A training worker's updates of HourNAS's second stage, on the whole space."""

    def __init__(self, space: SearchSpace, images: Tensor, labels: Tensor, sampling: Sampling) -> None:
        super().__init__(space, images, labels)
        objective = SampledPath(
            targets=mean_cost(space),
            proposals=PROPOSALS,
            sampling=sampling,
            temperature=Temperature(decay=1.0),
            architecture_learning_rate=_STILL,
        )
        self.learner = objective.begin(space, space.costs(), SEED)
        self.optimizers.update(self.learner.groups())

    def update(self, parameters: str, seed: int) -> None:
        """Update `weights` or `architecture`, with the network drawn by the seed."""
        apply_update(self._updates()[parameters], self.optimizers, RATE, self._step(seed))

    def network(self, seed: int) -> Architecture:
        """Return the network drawn by the seed."""
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
    """Return the mean cost of uniformly drawn architectures: targets within reach."""
    costs = space.costs().as_table()
    kept = torch.from_numpy(costs.kept).double()
    expected = costs.expected(kept / kept.sum(dim=-1, keepdim=True))
    return {resource: float(expected[resource]) for resource in ("macs", "params")}


@dataclass(frozen=True)
class Measurement:
    """The measurements of one sampled network, in the order of `KINDS`."""

    seconds: list[float]
    saved_bytes: list[int]


def measure(setting: TimedSetting) -> Iterator[Measurement]:
    """Measure every network. The first kind of step changes from turn to turn."""
    torch.manual_seed(SEED)
    space = setting.space
    images = torch.randn(setting.batch_size, 3, space.resolution, space.resolution)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.randint(0, space.num_classes, (setting.batch_size,))
    engines = [SecondStage(space, images, labels, sampling) for sampling in SAMPLINGS]
    for engine in engines:
        engine.supernet.train()
    for number in range(setting.architectures):
        alone = PlainLoop(engines[0], engines[0].network(number))
        steps: list[Callable[[], None]] = [alone.step]
        steps += [partial(engine.update, parameters, number) for engine in engines for parameters in UPDATES]
        saved = [saved_bytes(step) for step in steps]
        times: list[list[float]] = [[] for _ in steps]
        for turn in range(TURNS):
            for position in range(len(steps)):
                kind = (position + turn) % len(steps)
                times[kind].append(seconds(steps[kind]))
        yield Measurement([min(turns) for turns in times], saved)


def rows(measured: Sequence[Measurement]) -> Iterator[list[str]]:
    """Yield a row for each kind of step: the quickest turn, and time and memory beside the network alone."""
    times = np.array([network.seconds for network in measured])
    saved = np.array([network.saved_bytes for network in measured])
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
    command_parser("hour_nas.step_cost", __doc__).parse_args()
    torch.set_num_threads(1)
    print_heading("HourNAS's updates beside the sampled network alone", f"{SEED}; each network by its own number")
    print("Batches of 32, one thread, eight proposals, two targets.\n")
    print("- `ms`: median over the sampled networks of the quickest of five training steps")
    print("- `times`: ratio to the same network alone, median (10th to 90th percentile)")
    print("- `MB`: memory that the forward pass keeps for the backward pass, without parameters")
    print("- `activations`: ratio of this memory to that of the network alone\n")
    for setting in settings():
        options = max(map(len, setting.space.surviving))
        print(f"{setting.name}: {options} options for each choice, {setting.architectures} sampled networks.\n")
        print_table(("step", "ms", "times", "MB", "activations"), rows(list(measure(setting))))


if __name__ == "__main__":
    main()
