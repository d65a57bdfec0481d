"""What time and memory does a single-path training step take, beside a step of the same network alone?

    python -m benchmarks.common.step_timing

The sub-network alone trains in a plain PyTorch loop. Both loops train the same architectures on the same images from
the same weights with SGD. They take turns, and the first of a turn alternates. The supernet's step is that of every
training worker: drawing the path, gradients, optimizer, metrics.

Prints one table: milliseconds, and ratios of time, activations and peak memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import search_spaces
from benchmarks.common.arguments import command_parser
from benchmarks.common.report import print_heading, print_table
from raynas.interfaces.objective import WEIGHTS, MicroBatch, TrainingStep, UniformPath
from raynas.recipe.recipe import Recipe
from raynas.recipe.settings import TrainingSettings
from raynas.training.optimizers import make_optimizer
from raynas.training.update import apply_update
from search_spaces import Architecture, SearchSpace

SEED = 0
RATE = 0.01
TURNS = 5
"""Timed steps of each kind for an architecture, after one step without timing. The quickest counts."""


@dataclass(frozen=True)
class TimedSetting:
    """A space, a batch size, and the number of architectures to measure."""

    name: str
    space: SearchSpace
    batch_size: int
    architectures: int


def settings() -> list[TimedSetting]:
    """Return the demo's small space, and a larger space."""
    demo = dict(Recipe.read("pad-nas-digits").space)
    small = search_spaces.load(demo.pop("name"), **demo, num_classes=10)
    large = search_spaces.load("proxylessnas", width=0.5, resolution=64, num_classes=10)
    return [TimedSetting("the demo's", small, 32, 40), TimedSetting("width 0.5, 64 pixels", large, 32, 20)]


class Engine:
    """A training worker's step on a supernet."""

    def __init__(self, space: SearchSpace, images: Tensor, labels: Tensor) -> None:
        self.space = space
        self.supernet = space.supernet().to(memory_format=torch.channels_last)
        self.optimizers = {WEIGHTS: make_optimizer(self.supernet.parameters(), TrainingSettings())}
        self.learner = UniformPath().begin(space, space.costs(), SEED)
        self.batch = MicroBatch(images, labels, 1.0)

    def step(self, seed: int) -> None:
        """Take one step on the path drawn with the seed."""
        generator = np.random.default_rng(seed)
        step = TrainingStep(self.space, self.supernet, [self.batch], generator, functional.cross_entropy)
        for (update,) in self.learner.passes(0):
            apply_update(update, self.optimizers, RATE, step)


class PlainLoop:
    """The same network by itself, in a plain PyTorch loop."""

    def __init__(self, engine: Engine, architecture: Architecture) -> None:
        state = engine.space.network_state(architecture, engine.supernet.state_dict())
        self.network = engine.space.network(architecture).to(memory_format=torch.channels_last)
        self.network.load_state_dict(state)
        self.network.train()
        self.optimizer = torch.optim.SGD(self.network.parameters(), RATE, momentum=0.9, weight_decay=4e-5, foreach=True)
        self.images, self.labels = engine.batch.images, engine.batch.labels

    def step(self) -> None:
        loss = functional.cross_entropy(self.network(self.images), self.labels)
        torch.autograd.backward(loss)
        self.optimizer.step()
        self.optimizer.zero_grad()


@dataclass(frozen=True)
class Pair:
    """The measurements of one architecture: in the supernet, and alone."""

    seconds: tuple[float, float]
    saved_bytes: tuple[int, int]
    peak_bytes: tuple[int, int]


def pairs(setting: TimedSetting) -> Iterator[Pair]:
    """Measure every architecture. The first of the two steps alternates."""
    torch.manual_seed(SEED)
    size = (setting.batch_size, 3, setting.space.resolution, setting.space.resolution)
    images = torch.randn(size).to(memory_format=torch.channels_last)
    engine = Engine(setting.space, images, torch.randint(0, 10, (setting.batch_size,)))
    engine.supernet.train()
    for number in range(setting.architectures):
        alone = PlainLoop(engine, setting.space.sample(np.random.default_rng(number)))
        steps: list[Callable[[], None]] = [partial(engine.step, number), alone.step]
        for step in steps:
            step()
        times: list[list[float]] = [[], []]
        for turn in range(TURNS):
            for kind in (0, 1) if (number + turn) % 2 else (1, 0):
                times[kind].append(seconds(steps[kind]))
        saved, peak = (tuple(measure(step) for step in steps) for measure in (saved_bytes, peak_bytes))
        yield Pair((min(times[0]), min(times[1])), (saved[0], saved[1]), (peak[0], peak[1]))


def saved_bytes(step: Callable[[], None]) -> int:
    """Return the exact bytes that a step's forward pass keeps for its backward pass, without parameters."""
    storages: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        step()
    return sum(storages.values())


def peak_bytes(step: Callable[[], None]) -> int:
    """Return the exact peak of the bytes that a step allocates: activations, gradients, temporaries."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        step()
    events = sorted(
        (event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"),
        key=lambda event: event.start_ns(),
    )
    return int(np.cumsum([event.nbytes() for event in events]).max())


def row(name: str, measured: Sequence[Pair]) -> list[str]:
    """Return the cells of one setting."""
    ratios = np.array([pair.seconds[0] / pair.seconds[1] for pair in measured])
    low, middle, high = np.percentile(ratios, [10, 50, 90])
    return [
        name,
        *(f"{1000 * np.median([pair.seconds[kind] for pair in measured]):.1f}" for kind in (0, 1)),
        f"{middle:.3f} ({low:.3f} to {high:.3f})",
        f"{max(pair.saved_bytes[0] / pair.saved_bytes[1] for pair in measured):.6f}",
        f"{max(pair.peak_bytes[0] / pair.peak_bytes[1] for pair in measured):.6f}",
    ]


def seconds(step: Callable[[], object]) -> float:
    """Return the seconds of one step."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def main() -> None:
    command_parser("common.step_timing", __doc__).parse_args()
    torch.set_num_threads(1)
    seeds = f"{SEED}; each architecture by its own number"
    print_heading("A single-path training step beside the network alone", seeds)
    print("Batches of 32, one thread.\n")
    print("- `ms`: median over architectures of the quickest of five training steps")
    print("- `ratio`: median over architectures (10th to 90th percentile)")
    print("- `activations`: memory that the forward pass keeps for the backward pass, greatest ratio")
    print("- `peak`: memory of a training step without weights and optimizer state, greatest ratio\n")
    columns = ["setting", "architectures", "supernet ms", "alone ms", "ratio", "activations", "peak"]
    rows = []
    for setting in settings():
        name, *figures = row(setting.name, list(pairs(setting)))
        rows.append([name, setting.architectures, *figures])
    print_table(columns, rows)


if __name__ == "__main__":
    main()
