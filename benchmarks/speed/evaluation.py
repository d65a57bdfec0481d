"""One-shot evaluation beside the plain loop: what `benchmarks.speed` measures of it.

Two processes take turns. One evaluates architecture after architecture as anybody would write it, in torch's default
layout or in channels-last; the other is what a supernet actor is. Both hold the same weights and the same images. One
thread computes, and seconds are those of its processor, the kernel's for it among them: what else runs on the machine
so hardly matters.
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
from raynas.evaluation import prefix_tree
from raynas.evaluation.batch_norm_recalibration import recalibrate_tree
from raynas.interfaces.objective import WEIGHTS, MicroBatch, TrainingStep, UniformPath
from raynas.recipe.settings import TrainingSettings
from raynas.runtime.process import prepare_process
from raynas.training.update import apply_update, make_optimizer
from search_spaces import Architecture, Budget, SearchSpace, from_specification
from search_spaces.supernet import State, Supernet
from tuners.search_algorithms.nsga2 import ConstrainedNsga2

Indices = tuple[int, ...]


@dataclass(frozen=True)
class Work:
    """What is evaluated: normalised images (N, 3, H, W) and labels, those to recalibrate with, and the weights.

    Attributes:
        space: its specification.
        batch_size: of both.
    """

    space: dict[str, Any]
    weights: dict[str, Tensor]
    images: Tensor
    labels: Tensor
    recalibration: Tensor
    batch_size: int

    def batches(self, layout: torch.memory_format) -> list[prefix_tree.Batch]:
        whole = self.images.contiguous(memory_format=layout)
        return [(whole[rows], self.labels[rows]) for rows in self._rows(len(whole))]

    def recalibration_batches(self, layout: torch.memory_format) -> list[Tensor]:
        whole = self.recalibration.contiguous(memory_format=layout)
        return [whole[rows] for rows in self._rows(len(whole))]

    def _rows(self, count: int) -> list[slice]:
        return [slice(start, start + self.batch_size) for start in range(0, count, self.batch_size)]


def populations(space: SearchSpace, count: int, seed: int) -> dict[str, list[Architecture]]:
    """A generation drawn at random, and one that a search by a landscape of pairs of operations has converged to."""
    generator = np.random.default_rng(seed)
    drawn = [space.sample(generator) for _ in range(count)]
    oracle = NeighbourOracle(space, seed)
    search = ConstrainedNsga2(population=count, generations=40).begin(space, space.costs(), Budget({}), seed)
    asked = search.ask()
    while later := (search.tell(oracle.evaluate(asked)), search.ask())[1]:
        asked = later
    return {"random": drawn, "converged": asked}


def trained(space: SearchSpace, images: Tensor, labels: Tensor, steps: int, batch_size: int, seed: int) -> Supernet:
    """A supernet after some steps of uniform paths, so that its networks differ in accuracy."""
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


class Side:
    """One of the two processes: a supernet, and what it is asked to evaluate."""

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
        return self._supernets[layout]


_sides: list[Side] = []
"""The one that this process is."""


def begin(work: Work, engine: bool) -> None:
    """What each process does first."""
    torch.set_num_threads(1)
    if engine:
        prepare_process(threads=1, deterministic=False)
    _sides[:] = [Side(work)]


@dataclass(frozen=True)
class Turn:
    """What evaluating some architectures took, and what came of it.

    Attributes:
        logits: of each, shape (images, classes).
    """

    seconds: float
    logits: list[Tensor]

    def top1(self, labels: Tensor) -> list[float]:
        return [100 * float((one.argmax(1) == labels).double().mean()) for one in self.logits]


@torch.no_grad()
def plain(asked: Sequence[Indices], layout: torch.memory_format, recalibrate: bool) -> Turn:
    """One architecture after the other, batch norm recalibrated before each is measured."""
    (side,) = _sides
    supernet, work = side.supernet(layout), side.work
    recalibration, batches = work.recalibration_batches(layout), work.batches(layout)
    supernet.load_state_dict(work.weights)  # recalibrating leaves other statistics
    found: list[Tensor] = []
    start = time.process_time()
    for indices in asked:
        architecture = side.space.architecture(indices)
        if recalibrate:
            norms = [
                module
                for part in supernet.path_modules(architecture)
                for module in part.modules()
                if isinstance(module, nn.BatchNorm2d)
            ]
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None
                norm.train()
            for images in recalibration:
                supernet(images, architecture)
            supernet.eval()
        found.append(torch.cat([supernet(images, architecture) for images, _ in batches]))
    return Turn(time.process_time() - start, found)


@torch.inference_mode()
def together(asked: Sequence[Indices], recalibrate: bool, precision: str) -> Turn:
    """All of them as a supernet actor evaluates them."""
    (side,) = _sides
    recalibration = side.work.recalibration_batches(torch.channels_last)
    batches = side.work.batches(torch.channels_last)
    found: list[list[Tensor]] = [[] for _ in asked]
    start = time.process_time()
    root = grown(asked)
    with torch.autocast("cpu", getattr(torch, precision), enabled=precision != "float32"):
        if recalibrate:
            recalibrate_tree(root, recalibration)
        prefix_tree.measure(root, batches, partial(_gather, found))
    return Turn(time.process_time() - start, [torch.cat(one).float().clone() for one in found])


def grown(asked: Sequence[Indices]) -> prefix_tree.Node:
    (side,) = _sides
    return prefix_tree.grow(side.supernet(torch.channels_last), [side.space.architecture(indices) for indices in asked])


def _gather(found: list[list[Tensor]], number: int, logits: Tensor, labels: Tensor) -> None:
    found[number].append(logits)


@dataclass(frozen=True)
class Inside:
    """Where the time of one evaluation of many architectures goes, in seconds.

    Attributes:
        whole: all of it.
        arithmetic: within the stages of the networks.
        convolutions: what its convolutions take one by one, each as often as it is run, with nothing between them.
        macs: what is computed, shared parts once.
        peak_mib: the most memory that the process has had.
    """

    whole: float
    arithmetic: float
    convolutions: float
    macs: float
    peak_mib: float


@torch.inference_mode()
def inside(asked: Sequence[Indices]) -> Inside:
    """Take one evaluation with recalibration apart."""
    spent = [0.0]
    shapes: Counter[tuple[Any, ...]] = Counter()

    def timed(run: Callable[[State], State]) -> Callable[[State], State]:
        def timing(state: State) -> State:
            start = time.process_time()
            state = run(state)
            spent[0] += time.process_time() - start
            return state

        return timing

    def note(conv: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(conv, nn.Conv2d)
        key = (conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.groups)
        shapes[*key, tuple(inputs[0].shape)] += 1

    (side,) = _sides
    recalibration = side.work.recalibration_batches(torch.channels_last)
    batches = side.work.batches(torch.channels_last)

    def evaluate(root: prefix_tree.Node) -> float:
        start = time.process_time()
        recalibrate_tree(root, recalibration)
        prefix_tree.measure(root, batches, lambda *_: None)
        return time.process_time() - start

    root = grown(asked)
    for node in root:
        node.segment = node.segment._replace(run=timed(node.segment.run))
    whole = evaluate(root)
    convs = [one for one in side.supernet(torch.channels_last).modules() if isinstance(one, nn.Conv2d)]
    hooks = [conv.register_forward_pre_hook(note) for conv in convs]
    evaluate(grown(asked))
    for hook in hooks:
        hook.remove()
    alone = {shape: convolution_seconds(*shape) for shape in shapes}
    return Inside(
        whole,
        spent[0],
        sum(alone[shape] * count for shape, count in shapes.items()),
        sum(convolution_macs(*shape) * count for shape, count in shapes.items()),
        peak_mib(),
    )


def convolution_seconds(
    in_channels: int, out_channels: int, kernel: Any, stride: Any, padding: Any, groups: int, shape: Sequence[int]
) -> float:
    """The quickest of several runs of one convolution by itself, in channels-last."""
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False)
    conv.to(memory_format=torch.channels_last)
    images = torch.randn(tuple(shape)).to(memory_format=torch.channels_last)
    return min(seconds(partial(conv, images)) for _ in range(4))


def convolution_macs(
    in_channels: int, out_channels: int, kernel: Any, stride: Any, padding: Any, groups: int, shape: Sequence[int]
) -> float:
    size = (shape[2] + 2 * padding[0] - kernel[0]) // stride[0] + 1
    return float(shape[0] * out_channels * size**2 * in_channels // groups * kernel[0] * kernel[1])


def seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def peak_mib() -> float:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def nodes(space: SearchSpace, architectures: Iterable[Architecture]) -> tuple[int, int]:
    """How many blocks a generation computes, and how many there are without sharing."""
    indices = [one.indices for one in architectures]
    distinct = {one[:length] for one in indices for length in range(1, len(one) + 1)}
    return len(distinct), len(indices) * len(space.choices)
