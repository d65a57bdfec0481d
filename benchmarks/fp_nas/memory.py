"""Does FP-NAS hold the activations of one network, for any number of options and samples?

    python -m benchmarks.fp_nas.memory

The options of a choice are kernels of one expansion, whose activations are equally large. The command measures the
exact peak of the bytes that a training step keeps for its backward passes.

Prints a table by number of options: the peak for each number of samples K, the peak of a mixture of all options, and
the weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.common.arguments import command_parser
from benchmarks.common.report import print_heading, print_table
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
"""Channels and stride of each stage."""


def kernel_space(options: int) -> SearchSpace:
    """Return a space of eight layers with this number of kernels in each choice."""
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


class FpNasEngine(Engine):
    """A training worker's step of FP-NAS with K samples."""

    def __init__(self, space: SearchSpace, images: Tensor, labels: Tensor, samples: int) -> None:
        super().__init__(space, images, labels)
        objective = DrawnPaths(sample_size=FixedSampling(fixed=samples), distribution="joint", warmup_epochs=0)
        self.learner = objective.begin(space, space.costs(), SEED)
        self.optimizers.update(self.learner.groups())

    def step(self, seed: int) -> None:
        """Carry out both updates of one training step."""
        step = TrainingStep(
            self.space, self.supernet, [self.batch], np.random.default_rng(seed), functional.cross_entropy
        )
        for update in self.learner.passes(0)[0]:
            apply_update(update, self.optimizers, RATE, step)

    def mixture(self) -> None:
        """Take a gradient of the same supernet with a mixture of all options."""
        weights = torch.zeros(len(self.space.choices), max(map(len, self.space.surviving)), requires_grad=True)
        logits = self.supernet.mixed(self.batch.images, weights.softmax(dim=1))
        torch.autograd.backward(functional.cross_entropy(logits, self.batch.labels))
        self.optimizers["weights"].zero_grad()


class Ledger:
    """The bytes kept for backward passes, without parameters, and their peak `most`."""

    def __init__(self) -> None:
        self.most = 0
        self._users: Counter[int] = Counter()
        self._bytes: dict[int, int] = {}

    def keep(self, tensor: Tensor) -> KeptTensor:
        return KeptTensor(tensor, self)

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


class KeptTensor:
    """A tensor in an autograd graph. It leaves the ledger when the graph is deleted."""

    def __init__(self, tensor: Tensor, ledger: Ledger) -> None:
        self.tensor, self._ledger = tensor, ledger
        self._pointer = ledger.add(tensor)

    def __del__(self) -> None:
        if self._pointer is not None:
            self._ledger.drop(self._pointer)


def peak_kept_bytes(step: Callable[[], None]) -> int:
    """Return the peak of the bytes that a step's forward passes keep."""
    ledger = Ledger()
    with torch.autograd.graph.saved_tensors_hooks(ledger.keep, lambda kept: kept.tensor):
        step()
    return ledger.most


def measure(options: int, samples: Sequence[int], batch: int = BATCH) -> tuple[list[int], int, int]:
    """Return a step's peak for each number of samples, the peak of a mixture, and the weights, all in bytes."""
    torch.manual_seed(SEED)
    space = kernel_space(options)
    images, labels = torch.randn(batch, 3, space.resolution, space.resolution), torch.randint(0, 10, (batch,))
    images = images.to(memory_format=torch.channels_last)
    peaks = []
    for count in samples:
        engine = FpNasEngine(space, images, labels, count)
        engine.supernet.train()
        peaks.append(peak_kept_bytes(partial(engine.step, SEED)))
    weights = sum(parameter.nbytes for parameter in engine.supernet.parameters())
    return peaks, peak_kept_bytes(engine.mixture), weights


def rows(measured: dict[int, tuple[list[int], int, int]]) -> Iterator[list[str]]:
    """Yield the cells of each number of options, in megabytes."""
    for options, (peaks, mixture, weights) in measured.items():
        yield [str(options), *(f"{size / 1e6:.2f}" for size in (*peaks, mixture, weights))]


def main() -> None:
    command_parser("fp_nas.memory", __doc__).parse_args()
    torch.set_num_threads(1)
    measured = {options: measure(options, SAMPLES) for options in OPTIONS}
    print_heading("Memory of FP-NAS's backward passes", str(SEED))
    all_peaks = [peak for peaks, _, _ in measured.values() for peak in peaks]
    mixtures = [mixture for _, mixture, _ in measured.values()]
    spread, growth = max(all_peaks) / min(all_peaks), mixtures[-1] / mixtures[0]
    print(
        f"Eight layers at 16 x 16, batches of {BATCH}; megabytes. The greatest over all options and K is {spread:.3f}"
    )
    mixtures_text = f"A mixture of {OPTIONS[-1]} options keeps {growth:.1f} times as much as a mixture of {OPTIONS[0]}."
    print(f"times the least. {mixtures_text}\n")
    columns = ("options", *(f"K = {count}" for count in SAMPLES), "mixture", "weights")
    print_table(columns, rows(measured))


if __name__ == "__main__":
    main()
