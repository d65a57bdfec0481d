"""FP-NAS's promise of memory: a step holds the activations of one network, however many options there are and K is.

    python -m benchmarks.fp_nas.memory

The options of a choice are kernels of one expansion, whose activations are equally large. Measured is the most that a
step's forward passes keep for the backward pass at once, exactly; beside it the same for a mixture of all options.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.common.report import heading, table
from benchmarks.common.step_timing import RATE, SEED, Engine
from raynas.interfaces.objective import TrainingStep
from raynas.training.update import apply_update
from search_spaces import SearchSpace
from search_spaces.chain.space import ChainFamily, Stage
from tuners.fp_nas.drawn_paths import DrawnPaths
from tuners.fp_nas.sample_size import FixedSampling

OPTIONS, SAMPLES = (3, 6, 12), (1, 4, 14)
BATCH = 32
STAGES = ((8, 1), (16, 2))
"""Channels and stride of each."""


def space_of(options: int) -> SearchSpace:
    """Eight layers with so many kernels to choose from."""
    kernels = tuple(f"k{3 + 2 * number}e3" for number in range(options))
    stages = tuple(Stage(channels=channels, repeats=4, stride=stride, first=kernels) for channels, stride in STAGES)
    family = ChainFamily(
        name=f"kernels-{options}",
        paper="",
        stages=stages,
        stem_channels=8,
        stem_stride=1,
        head_channels=64,
        resolution=16,
        num_classes=10,
    )
    return family()


class Drawing(Engine):
    """A worker's step of FP-NAS with so many samples."""

    def __init__(self, space: SearchSpace, images: Tensor, labels: Tensor, samples: int) -> None:
        super().__init__(space, images, labels)
        objective = DrawnPaths(sample_size=FixedSampling(fixed=samples), distribution="joint", warmup_epochs=0)
        self.learner = objective.begin(space, space.costs(), SEED)
        self.optimizers.update(self.learner.groups())

    def step(self, seed: int) -> None:
        """Both updates of one step."""
        given = TrainingStep(
            self.space, self.supernet, [self.batch], np.random.default_rng(seed), functional.cross_entropy
        )
        for update in self.learner.passes(0)[0]:
            apply_update(update, self.optimizers, RATE, given)

    def mixture(self) -> None:
        """A step of the same supernet that runs all options."""
        weights = torch.zeros(len(self.space.choices), max(map(len, self.space.surviving)), requires_grad=True)
        logits = self.supernet.mixed(self.batch.images, weights.softmax(dim=1))
        torch.autograd.backward(functional.cross_entropy(logits, self.batch.labels))
        self.optimizers["weights"].zero_grad()


class Ledger:
    """How many bytes are kept for backward passes now, and were at most; parameters aside."""

    def __init__(self) -> None:
        self.most = 0
        self._users: Counter[int] = Counter()
        self._bytes: dict[int, int] = {}

    def keep(self, tensor: Tensor) -> Kept:
        return Kept(tensor, self)

    def add(self, tensor: Tensor) -> int | None:
        if isinstance(tensor, nn.Parameter):
            return None
        storage = tensor.untyped_storage()
        self._users[storage.data_ptr()] += 1
        self._bytes[storage.data_ptr()] = storage.nbytes()
        self.most = max(self.most, sum(self._bytes.values()))
        return storage.data_ptr()

    def drop(self, pointer: int) -> None:
        self._users[pointer] -= 1
        if not self._users[pointer]:
            del self._bytes[pointer]


class Kept:
    """A tensor in a graph; it ends with the graph."""

    def __init__(self, tensor: Tensor, ledger: Ledger) -> None:
        self.tensor, self._ledger = tensor, ledger
        self._pointer = ledger.add(tensor)

    def __del__(self) -> None:
        if self._pointer is not None:
            self._ledger.drop(self._pointer)


def most_kept(step: Callable[[], None]) -> int:
    """The most bytes that a step's forward passes keep at once."""
    ledger = Ledger()
    with torch.autograd.graph.saved_tensors_hooks(ledger.keep, lambda kept: kept.tensor):
        step()
    return ledger.most


def measure(options: int, samples: Sequence[int], batch: int = BATCH) -> tuple[list[int], int, int]:
    """For each number of samples the most that a step keeps; then a mixture's, and the weights' bytes."""
    torch.manual_seed(SEED)
    space = space_of(options)
    images, labels = torch.randn(batch, 3, space.resolution, space.resolution), torch.randint(0, 10, (batch,))
    images = images.to(memory_format=torch.channels_last)
    found = []
    for count in samples:
        engine = Drawing(space, images, labels, count)
        engine.supernet.train()
        found.append(most_kept(partial(engine.step, SEED)))
    weights = sum(parameter.nbytes for parameter in engine.supernet.parameters())
    return found, most_kept(engine.mixture), weights


def rows(measured: dict[int, tuple[list[int], int, int]]) -> Iterator[list[str]]:
    for options, (kept, mixture, weights) in measured.items():
        yield [str(options), *(f"{one / 1e6:.2f}" for one in (*kept, mixture, weights))]


def main() -> None:
    torch.set_num_threads(1)
    measured = {options: measure(options, SAMPLES) for options in OPTIONS}
    heading("What a step of FP-NAS keeps for its backward passes", str(SEED))
    every = [one for kept, _, _ in measured.values() for one in kept]
    mixtures = [mixture for _, mixture, _ in measured.values()]
    spread, growth = max(every) / min(every), mixtures[-1] / mixtures[0]
    print(
        f"Eight layers at 16 x 16, batches of {BATCH}; megabytes. Over all options and K the greatest is {spread:.3f} "
        f"times the least; a mixture of {OPTIONS[-1]} options keeps {growth:.1f} times what one of {OPTIONS[0]} does.\n"
    )
    columns = ("options a choice", *(f"K = {count}" for count in SAMPLES), "a mixture", "weights")
    table(columns, rows(measured))


if __name__ == "__main__":
    main()
