"""How fast is a supernet's training step beside plain PyTorch? Time, reduced bytes of two workers, batches, memory.

    python -m benchmarks.speed.training

Every loop runs in its own process. All take turns on the same architectures, so other work on the machine disturbs all
of them alike. The plain loops are plain PyTorch in processes without preparation. The processes of raynas's loop and of
DistributedDataParallel are prepared like every process of a run.

Prints a table of one worker, and a table of two workers.
"""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

import search_spaces
from benchmarks.common.arguments import command_parser
from benchmarks.common.plain_training import data_name, read_images
from benchmarks.common.report import print_heading, print_table
from benchmarks.common.shared_data import CIFAR10
from benchmarks.common.step_timing import RATE, SEED, TURNS, Engine, TimedSetting, peak_bytes, seconds
from benchmarks.common.step_timing import settings as small_settings
from raynas.data import training_batch
from raynas.interfaces.objective import MicroBatch
from raynas.runtime.process import prepare_process
from search_spaces import Architecture, SearchSpace

WORKERS = 2
THREADS = 1
TimedStep = Callable[[], None]
Measure = Callable[[TimedStep], float]


@dataclass(frozen=True)
class StepRow:
    """A training step of one worker: medians over architectures of the quickest turns, in milliseconds.

    Attributes:
        engine: raynas's step.
        default_layout, channels_last: the plain loop in both layouts.
        faster: the time in the default layout over raynas's time, median over architectures.
        slower: raynas's time over the time in channels-last, median over architectures.
        network: the bare network's forward and backward pass, in a prepared process.
        rest: the share of raynas's step without these passes.
        batch: drawing and augmenting the batch, from `images`.
        peak_bytes: the greatest peak of the bytes that a step of raynas allocates.
    """

    name: str
    engine: float
    default_layout: float
    channels_last: float
    faster: float
    slower: float
    network: float
    rest: float
    images: str
    batch: float
    peak_bytes: int


@dataclass(frozen=True)
class WorkersRow:
    """A training step of two workers: medians over architectures in milliseconds, and reduced bytes of a worker.

    Attributes:
        engine: raynas's step.
        ddp: the step of DistributedDataParallel with `find_unused_parameters`.
        slower: raynas's time over DistributedDataParallel's, median over architectures.
        engine_bytes, ddp_bytes: reduced bytes for the first architecture.
        path_bytes, supernet_bytes: the parameters of the first architecture, and of the supernet.
    """

    name: str
    engine: float
    ddp: float
    slower: float
    engine_bytes: int
    ddp_bytes: int
    path_bytes: int
    supernet_bytes: int


def settings() -> list[TimedSetting]:
    """Return the demo's space, and the published width on images of 32 pixels."""
    wide = search_spaces.load("proxylessnas", width=1.0, resolution=32, stem_stride=1, num_classes=10)
    return [small_settings()[0], TimedSetting("width 1.0, 32 pixels", wide, 128, 3)]


def one_worker(setting: TimedSetting, turns: int = TURNS) -> StepRow:
    """Measure raynas's step, its parts and its batch, beside the same networks in plain loops."""
    kinds = ["engine", "default layout", "channels-last", "network", "batch"]
    with _start_loops(kinds, setting) as loops:
        times = _quickest(list(loops.values()), setting, turns)
        peak = max(loops["engine"](peak_bytes, number) for number in range(setting.architectures))
    engine, default, channels_last, network, batch = np.median(times, axis=0).tolist()
    return StepRow(
        name=setting.name,
        engine=engine,
        default_layout=default,
        channels_last=channels_last,
        faster=float(np.median(times[:, 1] / times[:, 0])),
        slower=float(np.median(times[:, 0] / times[:, 2])),
        network=network,
        rest=float(np.median(1 - times[:, 3] / times[:, 0])),
        images=data_name(_Batch.open(setting.space.resolution)),
        batch=batch,
        peak_bytes=int(peak),
    )


def two_workers(setting: TimedSetting, turns: int = TURNS) -> WorkersRow:
    """Measure raynas's step in two processes beside DistributedDataParallel's, each on its half of the batch."""
    with _start_loops(["engine", "ddp"], setting, WORKERS) as loops:
        times = _quickest(list(loops.values()), setting, turns)
        reduced = {kind: int(measure(reduced_bytes, 0)) for kind, measure in loops.items()}
    engine, ddp = np.median(times, axis=0).tolist()
    supernet = setting.space.supernet()
    return WorkersRow(
        name=setting.name,
        engine=engine,
        ddp=ddp,
        slower=float(np.median(times[:, 0] / times[:, 1])),
        engine_bytes=reduced["engine"],
        ddp_bytes=reduced["ddp"],
        path_bytes=_bytes(supernet.path_modules(_path(setting.space, 0))),
        supernet_bytes=_bytes([supernet]),
    )


def reduced_bytes(step: TimedStep) -> float:
    """Return the bytes that a step reduces over the workers, as torch records them: four bytes for each number."""
    with torch.profiler.profile(record_shapes=True) as profile:
        step()
    reductions = [event.input_shapes for event in profile.events() if event.name == "gloo:all_reduce"]
    return float(sum(4 * np.prod(shape) for shapes in reductions for shape in shapes))


class _Loop(ABC):
    """A loop of training steps on this worker's share of the batch."""

    prepared: ClassVar[bool] = True

    @abstractmethod
    def step(self, number: int) -> None:
        """Take a step on the architecture with this number."""


class _Engine(_Loop):
    def __init__(self, space: SearchSpace, batch_size: int, workers: int) -> None:
        images, labels = _noise(space, batch_size, workers)
        self._engine = Engine(space, images.to(memory_format=torch.channels_last), labels)
        self._engine.batch = MicroBatch(self._engine.batch.images, labels, 1 / workers)
        self._engine.supernet.train()

    def step(self, number: int) -> None:
        self._engine.step(number)


class _DataParallel(_Loop):
    """The supernet in DistributedDataParallel, which has to find the unused parameters of each step."""

    def __init__(self, space: SearchSpace, batch_size: int, workers: int) -> None:
        images, self._labels = _noise(space, batch_size, workers)
        self._images = images.to(memory_format=torch.channels_last)
        self._space = space
        supernet = space.supernet().to(memory_format=torch.channels_last).train()
        self._network = DistributedDataParallel(supernet, find_unused_parameters=True)
        self._optimizer = _sgd(supernet)

    def step(self, number: int) -> None:
        self._optimizer.zero_grad()
        logits = self._network(self._images, _path(self._space, number))
        torch.autograd.backward(functional.cross_entropy(logits, self._labels))
        self._optimizer.step()


class _Plain(_Loop):
    """The network by itself, in the default layout."""

    prepared: ClassVar[bool] = False
    layout: ClassVar[torch.memory_format] = torch.contiguous_format

    def __init__(self, space: SearchSpace, batch_size: int, workers: int) -> None:
        images, self._labels = _noise(space, batch_size, workers)
        self._images = images.to(memory_format=self.layout)
        self._space = space
        self._number: int | None = None

    def step(self, number: int) -> None:
        if number != self._number:
            network = self._space.network(_path(self._space, number)).to(memory_format=self.layout)
            self._network, self._number = network.train(), number
            self._optimizer = _sgd(network)
        self._update()

    def _update(self) -> None:
        self._optimizer.zero_grad()
        loss = functional.cross_entropy(self._network(self._images), self._labels)
        torch.autograd.backward(loss)
        self._optimizer.step()


class _ChannelsLast(_Plain):
    layout: ClassVar[torch.memory_format] = torch.channels_last


class _Bare(_ChannelsLast):
    """The network's forward and backward pass alone."""

    prepared: ClassVar[bool] = True

    def _update(self) -> None:
        loss = functional.cross_entropy(self._network(self._images), self._labels)
        torch.autograd.grad(loss, list(self._network.parameters()))


class _Batch(_Loop):
    """Drawing and augmenting the batch of a step."""

    def __init__(self, space: SearchSpace, batch_size: int, workers: int) -> None:
        self._images = self.open(space.resolution)
        rows = np.random.default_rng(SEED).permutation(self._images.rows("train"))
        self._rows = rows[: batch_size // workers]

    def step(self, number: int) -> None:
        training_batch(self._images, self._rows, SEED, 0, number)

    @staticmethod
    def open(resolution: int) -> Any:
        return read_images(CIFAR10 if CIFAR10.exists() else None, resolution, SEED)


LOOPS: Mapping[str, type[Any]] = {
    "engine": _Engine,
    "ddp": _DataParallel,
    "default layout": _Plain,
    "channels-last": _ChannelsLast,
    "network": _Bare,
    "batch": _Batch,
}
MeasureLoop = Callable[[Measure, int], float]
"""Measures the step of a loop on the architecture with a number."""


def _quickest(loops: Sequence[MeasureLoop], setting: TimedSetting, turns: int) -> NDArray[np.float64]:
    """Return milliseconds, shape (architectures, loops). The first loop changes from turn to turn."""
    times = np.full((setting.architectures, turns, len(loops)), np.inf)
    for number in range(setting.architectures):
        for measure in loops:
            measure(seconds, number)
        for turn in range(turns):
            for position in range(len(loops)):
                loop = (position + turn) % len(loops)
                times[number, turn, loop] = 1000 * loops[loop](seconds, number)
    quickest: NDArray[np.float64] = times.min(axis=1)
    return quickest


@contextmanager
def _start_loops(kinds: Sequence[str], setting: TimedSetting, workers: int = 1) -> Iterator[dict[str, MeasureLoop]]:
    """Start the processes of loops. Yields a function for each loop that measures it."""
    with ExitStack() as stack:
        yield {kind: stack.enter_context(start_loop(kind, setting, workers)) for kind in kinds}


@contextmanager
def start_loop(kind: str, setting: TimedSetting, workers: int, threads: int = THREADS) -> Iterator[MeasureLoop]:
    """Start the workers of a loop. Yields a function that measures a step in all at once; the slowest counts."""
    context = get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        pipes = [context.Pipe() for _ in range(workers)]
        arguments = (kind, setting.space.specification(), setting.batch_size, workers, threads, f"file://{folder}/meet")
        processes = [
            context.Process(target=_serve, args=(theirs, rank, *arguments), daemon=True)
            for rank, (_, theirs) in enumerate(pipes)
        ]
        for process, (_, theirs) in zip(processes, pipes, strict=True):
            process.start()
            theirs.close()

        def measure_loop(measure: Measure, number: int) -> float:
            for ours, _ in pipes:
                ours.send((measure, number))
            measured: list[float] = [ours.recv() for ours, _ in pipes]
            return max(measured)

        try:
            yield measure_loop
        finally:
            for process, (ours, _) in zip(processes, pipes, strict=True):
                ours.close()
                process.join()


def _serve(
    connection: Connection[Any, Any],
    rank: int,
    kind: str,
    specification: dict[str, Any],
    batch_size: int,
    workers: int,
    threads: int,
    meet: str,
) -> None:
    """Carry out measurements until the other end of the connection closes."""
    torch.set_num_threads(threads)
    torch.manual_seed(SEED)
    if LOOPS[kind].prepared:
        prepare_process(threads, False)
    if workers > 1:
        distributed.init_process_group("gloo", meet, rank=rank, world_size=workers)
    loop: _Loop = LOOPS[kind](search_spaces.from_specification(specification), batch_size, workers)
    try:
        while True:
            measure, number = connection.recv()
            connection.send(measure(lambda number=number: loop.step(number)))
    except EOFError:
        if workers > 1:
            distributed.destroy_process_group()


def _noise(space: SearchSpace, batch_size: int, workers: int) -> tuple[Tensor, Tensor]:
    share = batch_size // workers
    images = torch.randn(share, 3, space.resolution, space.resolution)
    return images, torch.randint(0, space.num_classes, (share,))


def _path(space: SearchSpace, number: int) -> Architecture:
    return space.sample(np.random.default_rng(number))


def _sgd(network: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(network.parameters(), RATE, momentum=0.9, weight_decay=4e-5)


def _bytes(modules: Sequence[nn.Module]) -> int:
    return sum(4 * parameter.numel() for module in modules for parameter in module.parameters())


def main() -> None:
    command_parser("speed.training", __doc__).parse_args()
    print_heading("The training step", f"{SEED}; each architecture by its own number")
    print(
        "One thread for each process. Milliseconds: median over architectures of the quickest turn. `engine`: raynas;"
    )
    print("`rest`: its share without the bare network's forward and backward pass.\n")
    steps, shared = [], []
    for setting, turns in zip(settings(), (TURNS, 3), strict=True):
        steps.append(asdict(one_worker(setting, turns)))
        shared.append(asdict(two_workers(setting, turns)))
    for rows in (steps, shared):
        print_table(
            list(rows[0]),
            [[f"{cell:.3g}" if isinstance(cell, float) else cell for cell in row.values()] for row in rows],
        )


if __name__ == "__main__":
    main()
