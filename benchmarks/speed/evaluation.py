"""One-shot evaluation beside the plain loop, for `benchmarks.speed`.

Two processes take turns. The plain process evaluates one architecture after another, in torch's default layout or in
channels-last. The other process evaluates like an evaluator of a run. Both hold the same weights and the same images.
One thread computes. Seconds are processor time, the kernel's time for the process included, so other work on the
machine hardly matters.
"""

from __future__ import annotations

import resource
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.common.oracles import NeighbourOracle
from benchmarks.common.plain_training import top1
from benchmarks.speed.plain_recalibration import recalibrate as recalibrate_plainly
from raynas.evaluation import prefix_tree
from raynas.evaluation.batch_norm_recalibration import recalibrate_tree
from raynas.evaluation.request import Indices
from raynas.interfaces.objective import WEIGHTS, MicroBatch, TrainingStep, UniformPath
from raynas.recipe.settings import TrainingSettings
from raynas.runtime.process import prepare_process
from raynas.training.optimizers import make_optimizer
from raynas.training.update import apply_update
from search_spaces import Architecture, Budget, SearchSpace, from_specification
from search_spaces.supernet import State, Supernet
from tuners.search_algorithms.nsga2 import ConstrainedNsga2


@dataclass(frozen=True)
class Work:
    """The weights and the images of an evaluation.

    Attributes:
        space: the specification of the space.
        images: normalised, shape (N, 3, H, W).
        recalibration: images for batch norm, normalised, shape (M, 3, H, W).
        batch_size: of the evaluation and of the recalibration.
    """

    space: dict[str, Any]
    weights: dict[str, Tensor]
    images: Tensor
    labels: Tensor
    recalibration: Tensor
    batch_size: int

    def batches(self, layout: torch.memory_format) -> list[prefix_tree.Batch]:
        """Return the batches to measure on, with their labels."""
        images = self.images.contiguous(memory_format=layout)
        return [(images[rows], self.labels[rows]) for rows in self._rows(len(images))]

    def recalibration_batches(self, layout: torch.memory_format) -> list[Tensor]:
        """Return the batches for batch norm."""
        images = self.recalibration.contiguous(memory_format=layout)
        return [images[rows] for rows in self._rows(len(images))]

    def _rows(self, count: int) -> list[slice]:
        return [slice(start, start + self.batch_size) for start in range(0, count, self.batch_size)]


def populations(space: SearchSpace, count: int, seed: int) -> dict[str, list[Architecture]]:
    """Return a random generation, and the last generation of a search on an artificial landscape."""
    generator = np.random.default_rng(seed)
    random_generation = [space.sample(generator) for _ in range(count)]
    oracle = NeighbourOracle(space, seed)
    search = ConstrainedNsga2(population=count, generations=40).begin(space, space.costs(), Budget({}), seed)
    generation = search.ask()
    while True:
        search.tell(oracle.evaluate(generation))
        following = search.ask()
        if not following:
            return {"random": random_generation, "converged": generation}
        generation = following


def train_supernet(
    space: SearchSpace, images: Tensor, labels: Tensor, steps: int, batch_size: int, seed: int
) -> Supernet:
    """Train a supernet for some steps of uniform paths, so that its sub-networks differ in accuracy."""
    torch.manual_seed(seed)
    supernet = space.supernet()
    supernet.to(memory_format=torch.channels_last).train()
    optimizers = {WEIGHTS: make_optimizer(supernet.parameters(), TrainingSettings())}
    learner = UniformPath().begin(space, space.costs(), seed)
    for number in range(steps):
        generator = np.random.default_rng([seed, number])
        rows = torch.from_numpy(generator.integers(len(labels), size=batch_size))
        batch = MicroBatch(images[rows], labels[rows], 1.0)
        step = TrainingStep(space, supernet, [batch], generator, functional.cross_entropy)
        for (update,) in learner.passes(0):
            apply_update(update, optimizers, 0.05, step)
    return supernet.eval()


class LoadedWork:
    """The supernets of one process, in both layouts, and its images."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.space = from_specification(work.space)
        self._supernets = {
            layout: self.space.supernet().to(memory_format=layout).eval()
            for layout in (torch.contiguous_format, torch.channels_last)
        }
        for supernet in self._supernets.values():
            supernet.load_state_dict(work.weights)

    def supernet(self, layout: torch.memory_format) -> Supernet:
        """Return the supernet in a layout."""
        return self._supernets[layout]


_loaded: list[LoadedWork] = []
"""The work of this process, one element."""


def load_work(work: Work, as_evaluator: bool) -> None:
    """Load the work into this process, and prepare the process like an evaluator if it is one."""
    torch.set_num_threads(1)
    if as_evaluator:
        prepare_process(threads=1, deterministic=False)
    _loaded[:] = [LoadedWork(work)]


@dataclass(frozen=True)
class Turn:
    """The seconds and the results of some architectures.

    Attributes:
        logits: of each architecture, shape (images, classes).
    """

    seconds: float
    logits: list[Tensor]

    def top1(self, labels: Tensor) -> list[float]:
        """Return the accuracies in per cent."""
        return [top1(logits, labels) for logits in self.logits]


@torch.no_grad()
def evaluate_plainly(architectures: Sequence[Indices], layout: torch.memory_format, recalibrate: bool) -> Turn:
    """Evaluate one architecture after another. Batch norm is recalibrated before each measurement."""
    (loaded,) = _loaded
    supernet, work = loaded.supernet(layout), loaded.work
    recalibration, batches = work.recalibration_batches(layout), work.batches(layout)
    supernet.load_state_dict(work.weights)  # recalibration leaves other statistics
    logits: list[Tensor] = []
    start = time.process_time()
    for indices in architectures:
        architecture = loaded.space.architecture(indices)
        if recalibrate:
            modules = [module for part in supernet.path_modules(architecture) for module in part.modules()]
            recalibrate_plainly(partial(supernet, architecture=architecture), modules, recalibration)
        logits.append(torch.cat([supernet(images, architecture) for images, _ in batches]))
    return Turn(time.process_time() - start, logits)


@torch.inference_mode()
def evaluate_together(architectures: Sequence[Indices], recalibrate: bool, precision: str) -> Turn:
    """Evaluate all architectures together, as an evaluator does."""
    (loaded,) = _loaded
    recalibration = loaded.work.recalibration_batches(torch.channels_last)
    batches = loaded.work.batches(torch.channels_last)
    logits: list[list[Tensor]] = [[] for _ in architectures]
    start = time.process_time()
    root = grow_tree(architectures)
    with torch.autocast("cpu", getattr(torch, precision), enabled=precision != "float32"):
        if recalibrate:
            recalibrate_tree(root, recalibration)
        prefix_tree.measure(root, batches, lambda number, batch_logits, _: logits[number].append(batch_logits))
    return Turn(time.process_time() - start, [torch.cat(parts).float().clone() for parts in logits])


def grow_tree(architectures: Sequence[Indices]) -> prefix_tree.Node:
    """Return the prefix tree of some architectures."""
    (loaded,) = _loaded
    supernet = loaded.supernet(torch.channels_last)
    return prefix_tree.grow(supernet, [loaded.space.architecture(indices) for indices in architectures])


@dataclass(frozen=True)
class Breakdown:
    """The parts of the time of one evaluation of many architectures, in seconds.

    Attributes:
        whole: the whole evaluation.
        arithmetic: the segments of the networks.
        convolutions: all convolutions one by one, with nothing between them, each as often as the evaluation runs it.
        macs: the multiply-adds of the convolutions, shared segments once.
        peak_mib: the peak memory of the process.
    """

    whole: float
    arithmetic: float
    convolutions: float
    macs: float
    peak_mib: float


@torch.inference_mode()
def break_down(architectures: Sequence[Indices]) -> Breakdown:
    """Measure the parts of one evaluation with recalibration."""
    segment_seconds = [0.0]
    shapes: Counter[tuple[Any, ...]] = Counter()

    def timed(run: Callable[[State], State]) -> Callable[[State], State]:
        def timing(state: State) -> State:
            start = time.process_time()
            state = run(state)
            segment_seconds[0] += time.process_time() - start
            return state

        return timing

    def count_shape(conv: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(conv, nn.Conv2d)
        key = (conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.groups)
        shapes[*key, tuple(inputs[0].shape)] += 1

    (loaded,) = _loaded
    recalibration = loaded.work.recalibration_batches(torch.channels_last)
    batches = loaded.work.batches(torch.channels_last)

    def evaluate(root: prefix_tree.Node) -> float:
        start = time.process_time()
        recalibrate_tree(root, recalibration)
        prefix_tree.measure(root, batches, lambda *_: None)
        return time.process_time() - start

    root = grow_tree(architectures)
    for node in root:
        node.segment = node.segment._replace(run=timed(node.segment.run))
    whole = evaluate(root)
    modules = loaded.supernet(torch.channels_last).modules()
    convs = [module for module in modules if isinstance(module, nn.Conv2d)]
    hooks = [conv.register_forward_pre_hook(count_shape) for conv in convs]
    evaluate(grow_tree(architectures))
    for hook in hooks:
        hook.remove()
    alone = {shape: convolution_seconds(*shape) for shape in shapes}
    return Breakdown(
        whole,
        segment_seconds[0],
        sum(alone[shape] * count for shape, count in shapes.items()),
        sum(convolution_macs(*shape) * count for shape, count in shapes.items()),
        peak_mib(),
    )


def convolution_seconds(
    in_channels: int, out_channels: int, kernel: Any, stride: Any, padding: Any, groups: int, shape: Sequence[int]
) -> float:
    """Return the quickest of several runs of one convolution by itself, in channels-last."""
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False)
    conv.to(memory_format=torch.channels_last)
    images = torch.randn(tuple(shape)).to(memory_format=torch.channels_last)
    return min(seconds(partial(conv, images)) for _ in range(4))


def convolution_macs(
    in_channels: int, out_channels: int, kernel: Any, stride: Any, padding: Any, groups: int, shape: Sequence[int]
) -> float:
    """Return the multiply-adds of one convolution."""
    size = (shape[2] + 2 * padding[0] - kernel[0]) // stride[0] + 1
    return float(shape[0] * out_channels * size**2 * in_channels // groups * kernel[0] * kernel[1])


def seconds(run: Callable[[], object]) -> float:
    """Return the processor seconds of a call."""
    start = time.process_time()
    run()
    return time.process_time() - start


def peak_mib() -> float:
    """Return the peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def count_blocks(space: SearchSpace, architectures: Iterable[Architecture]) -> tuple[int, int]:
    """Return the number of blocks that a generation computes, and their number without sharing."""
    keys = [architecture.indices for architecture in architectures]
    prefixes = {key[:length] for key in keys for length in range(1, len(key) + 1)}
    return len(prefixes), len(keys) * len(space.choices)
