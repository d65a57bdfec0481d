"""The training step of a supernet beside plain PyTorch: time, bytes reduced by two workers, data, memory.

    python -m benchmarks.speed.training

Every loop runs in a process of its own, and all take turns on the same architectures, so that what else the machine
does meets all of them alike. The plain loops are written as anybody would write them, and nothing prepares their
processes; the engine's, and that of DistributedDataParallel beside it, are prepared as every process of a run is.
"""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

import search_spaces
from benchmarks.common.plain_training import name_of, read_images
from benchmarks.common.report import heading, table
from benchmarks.common.step_timing import RATE, SEED, TURNS, Engine, Setting, peak_bytes, seconds
from benchmarks.common.step_timing import settings as small_settings
from raynas.data import training_batch
from raynas.interfaces.objective import MicroBatch
from raynas.runtime.process import prepare_process
from search_spaces import Architecture, SearchSpace

WORKERS = 2
THREADS = 1
CIFAR10 = Path("../shared/data/cifar10_subset12k.npz")
Step = Callable[[], None]
Measure = Callable[[Step], float]


@dataclass(frozen=True)
class StepRow:
    """One worker's step: medians over architectures of the quickest turns, in milliseconds.

    Attributes:
        engine, default_layout, channels_last: of the engine, and of the plain loop in either layout.
        faster: the median over architectures of the default layout's time over the engine's.
        slower: the same of the engine's time over that in channels-last.
        network: the bare network's forward and backward pass, in a prepared process.
        rest: the share of the engine's step that is not these.
        batch: to draw and augment the batch, from `images`.
        peak_bytes: the most that a step of the engine holds beyond what it found, over the architectures.
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
    """A step of two workers: medians over architectures, in milliseconds, and the bytes that a worker reduces.

    Attributes:
        engine, ddp: of the engine, and of DistributedDataParallel with `find_unused_parameters`.
        slower: the median over architectures of the engine's time over DistributedDataParallel's.
        engine_bytes, ddp_bytes: reduced for the first architecture.
        path_bytes, supernet_bytes: the parameters' of the first architecture, and of all.
    """

    name: str
    engine: float
    ddp: float
    slower: float
    engine_bytes: int
    ddp_bytes: int
    path_bytes: int
    supernet_bytes: int


def settings() -> list[Setting]:
    """The demo's space, and the published width on images of 32 pixels."""
    wide = search_spaces.load("proxylessnas", width=1.0, resolution=32, stem_stride=1, num_classes=10)
    return [small_settings()[0], Setting("width 1.0, 32 pixels", wide, 128, 3)]


def one_worker(setting: Setting, turns: int = TURNS) -> StepRow:
    """The engine's step beside the same networks in plain loops, what it is made of, and the batch that it needs."""
    kinds = ["engine", "default layout", "channels-last", "network", "batch"]
    with _all(kinds, setting) as asks:
        taken = _quickest(list(asks.values()), setting, turns)
        peak = max(asks["engine"](peak_bytes, number) for number in range(setting.architectures))
    engine, default, channels_last, network, batch = np.median(taken, axis=0).tolist()
    return StepRow(
        name=setting.name,
        engine=engine,
        default_layout=default,
        channels_last=channels_last,
        faster=float(np.median(taken[:, 1] / taken[:, 0])),
        slower=float(np.median(taken[:, 0] / taken[:, 2])),
        network=network,
        rest=float(np.median(1 - taken[:, 3] / taken[:, 0])),
        images=name_of(_Batch.open(setting.space.resolution)),
        batch=batch,
        peak_bytes=int(peak),
    )


def two_workers(setting: Setting, turns: int = TURNS) -> WorkersRow:
    """The engine's step over two processes beside DistributedDataParallel's, each on its half of the batch."""
    with _all(["engine", "ddp"], setting, WORKERS) as asks:
        taken = _quickest(list(asks.values()), setting, turns)
        reduced = {kind: int(ask(reduced_bytes, 0)) for kind, ask in asks.items()}
    engine, ddp = np.median(taken, axis=0).tolist()
    supernet = setting.space.supernet()
    return WorkersRow(
        name=setting.name,
        engine=engine,
        ddp=ddp,
        slower=float(np.median(taken[:, 0] / taken[:, 1])),
        engine_bytes=reduced["engine"],
        ddp_bytes=reduced["ddp"],
        path_bytes=_bytes(supernet.path_modules(_path(setting.space, 0))),
        supernet_bytes=_bytes([supernet]),
    )


def reduced_bytes(step: Step) -> float:
    """What a step reduces over the workers, as torch records it: numbers of four bytes each."""
    with torch.profiler.profile(record_shapes=True) as profile:
        step()
    reductions = [event.input_shapes for event in profile.events() if event.name == "gloo:all_reduce"]
    return float(sum(4 * np.prod(shape) for shapes in reductions for shape in shapes))


class _Loop(ABC):
    """A step on the architecture of a number, on this worker's share of the batch."""

    prepared: ClassVar[bool] = True

    @abstractmethod
    def step(self, number: int) -> None: ...


class _Engine(_Loop):
    def __init__(self, space: SearchSpace, batch_size: int, workers: int) -> None:
        images, labels = _noise(space, batch_size, workers)
        self._engine = Engine(space, images.to(memory_format=torch.channels_last), labels)
        self._engine.batch = MicroBatch(self._engine.batch.images, labels, 1 / workers)
        self._engine.supernet.train()

    def step(self, number: int) -> None:
        self._engine.step(number)


class _DataParallel(_Loop):
    """The supernet in DistributedDataParallel, which is told that a step leaves parameters out."""

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
        self._move()

    def _move(self) -> None:
        self._optimizer.zero_grad()
        loss = functional.cross_entropy(self._network(self._images), self._labels)
        torch.autograd.backward(loss)
        self._optimizer.step()


class _ChannelsLast(_Plain):
    layout: ClassVar[torch.memory_format] = torch.channels_last


class _Bare(_ChannelsLast):
    """Both passes of the network and nothing else."""

    prepared: ClassVar[bool] = True

    def _move(self) -> None:
        loss = functional.cross_entropy(self._network(self._images), self._labels)
        torch.autograd.grad(loss, list(self._network.parameters()))


class _Batch(_Loop):
    """The batch of a step, drawn and augmented."""

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
Ask = Callable[[Measure, int], float]


def _quickest(asks: Sequence[Ask], setting: Setting, turns: int) -> NDArray[np.float64]:
    """Milliseconds, shape (architectures, loops): which loop goes first changes from turn to turn."""
    taken = np.full((setting.architectures, turns, len(asks)), np.inf)
    for number in range(setting.architectures):
        for ask in asks:
            ask(seconds, number)
        for turn in range(turns):
            for position in range(len(asks)):
                which = (position + turn) % len(asks)
                taken[number, turn, which] = 1000 * asks[which](seconds, number)
    quickest: NDArray[np.float64] = taken.min(axis=1)
    return quickest


@contextmanager
def _all(kinds: Sequence[str], setting: Setting, workers: int = 1) -> Iterator[dict[str, Ask]]:
    """What asks each loop, in processes that live as long as this."""
    with ExitStack() as stack:
        yield {kind: stack.enter_context(_asking(kind, setting, workers)) for kind in kinds}


@contextmanager
def _asking(kind: str, setting: Setting, workers: int) -> Iterator[Ask]:
    """A function that measures a step in all workers of a loop at once; the greatest number counts."""
    context = get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        pipes = [context.Pipe() for _ in range(workers)]
        given = (kind, setting.space.specification(), setting.batch_size, workers, f"file://{folder}/meet")
        processes = [
            context.Process(target=_serve, args=(theirs, rank, *given), daemon=True)
            for rank, (_, theirs) in enumerate(pipes)
        ]
        for process, (_, theirs) in zip(processes, pipes, strict=True):
            process.start()
            theirs.close()

        def ask(measure: Measure, number: int) -> float:
            for ours, _ in pipes:
                ours.send((measure, number))
            measured: list[float] = [ours.recv() for ours, _ in pipes]
            return max(measured)

        try:
            yield ask
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
    meet: str,
) -> None:
    """Measure what is asked for until nobody asks any more."""
    torch.set_num_threads(THREADS)
    torch.manual_seed(SEED)
    if LOOPS[kind].prepared:
        prepare_process(THREADS, False)
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
    heading("The training step", f"{SEED}; each architecture by its own number")
    print(
        "One thread a process. Milliseconds: median over architectures of the quickest of some turns; `rest`: the share"
    )
    print("of the engine's step that is neither the bare network's forward nor its backward pass.\n")
    steps, shared = [], []
    for setting, turns in zip(settings(), (TURNS, 3), strict=True):
        steps.append(asdict(one_worker(setting, turns)))
        shared.append(asdict(two_workers(setting, turns)))
    for rows in (steps, shared):
        table(
            list(rows[0]),
            [[f"{cell:.3g}" if isinstance(cell, float) else cell for cell in row.values()] for row in rows],
        )


if __name__ == "__main__":
    main()
