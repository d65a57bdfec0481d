"""Does the time of FP-NAS's training step follow K, the number of samples, on several workers?

    nice python -m benchmarks.fp_nas.step_time [--workers 2] [--rounds 8]

The workers are processes with one thread each that add up gradients with Gloo, as Ray Train's workers do. Each round
makes one training step for each K, both updates of it. Prints the time of a step against K = 14: on the clock, and the
processor time of the busiest worker, which other programs of the machine do not change.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed
from torch.multiprocessing.spawn import spawn

from benchmarks.common.arguments import command_parser
from benchmarks.common.report import print_heading, print_table
from raynas.interfaces.objective import WEIGHTS, MicroBatch, TrainingStep
from raynas.training.all_reduce import sum_over_workers
from raynas.training.update import apply_update
from search_spaces import load
from tuners.fp_nas.drawn_paths import DrawnPaths, DrawnPathsLearner

SAMPLES = (14, 8, 4, 3, 2, 1)
IMAGES, RESOLUTION, CLASSES = 128, 64, 100


def measure(rank: int, workers: int, rounds: int, folder: str) -> None:
    """Write the seconds of one worker's training steps: on the clock and of its processor, (rounds, K, 2)."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=workers)
    torch.manual_seed(0)
    space = load("fbnetv2-f", resolution=RESOLUTION, num_classes=CLASSES)
    supernet = space.supernet().to(memory_format=torch.channels_last)
    sgd = torch.optim.SGD(supernet.parameters(), lr=0.01, foreach=True)
    images = torch.randn(IMAGES, 3, RESOLUTION, RESOLUTION).contiguous(memory_format=torch.channels_last)
    batch = MicroBatch(images, torch.arange(IMAGES) % CLASSES, 1.0)
    loss = torch.nn.CrossEntropyLoss()
    seconds = np.zeros((rounds, len(SAMPLES), 2))
    for number in range(rounds):
        for place, count in enumerate(SAMPLES):
            settings = DrawnPaths.model_validate({"sample_size": {"fixed": count}, "warmup_epochs": 0})
            learner = DrawnPathsLearner(settings, space, space.costs())
            optimizers = {WEIGHTS: sgd, **learner.groups()}
            generator = np.random.default_rng([number, count])
            distributed.barrier()
            begun = time.perf_counter(), time.process_time()
            for update in learner.passes(0)[0]:
                step = TrainingStep(
                    space,
                    supernet,
                    [batch],
                    generator,
                    loss,
                    weights=sgd,
                    rank=rank,
                    workers=workers,
                    sum_over_workers=sum_over_workers,
                )
                apply_update(update, optimizers, 0.01, step)
            seconds[number, place] = time.perf_counter() - begun[0], time.process_time() - begun[1]
    np.save(f"{folder}/{rank}.npy", seconds)
    distributed.destroy_process_group()


def rows(seconds: np.ndarray) -> Iterator[list[str]]:
    """Yield the cells of each K; the first round does not count.

    Args:
        seconds: shape (workers, rounds, K, 2).
    """
    clock, processor = (
        np.median(seconds[:, 1:, :, 0].max(axis=0), axis=0),
        seconds[:, 1:, :, 1].mean(axis=1).max(axis=0),
    )
    for place, count in enumerate(SAMPLES):
        share = count / SAMPLES[0]
        yield [
            str(count),
            f"{share:.3f}",
            f"{clock[place]:.2f} ({clock[place] / clock[0]:.3f})",
            f"{processor[place]:.2f} ({processor[place] / processor[0]:.3f})",
            f"{processor[0] / processor[place] * share:.2f}",
        ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_parser("fp_nas.step_time", __doc__)
    parser.add_argument("--workers", type=int, default=2, help="number of workers (default: 2)")
    parser.add_argument("--rounds", type=int, default=8, help="training steps for each K; the first does not count")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        start: Any = spawn
        start(measure, (options.workers, options.rounds, folder), nprocs=options.workers)
        seconds = np.stack([np.load(Path(folder) / f"{rank}.npy") for rank in range(options.workers)])
    print_heading("The time of FP-NAS's training step", "0")
    print(f"- fbnetv2-f at {RESOLUTION} pixels, batches of {IMAGES}, {options.workers} workers of one thread\n")
    columns = ("K", "share of 14", "seconds (share)", "processor seconds (share)", "speed-up over that of the samples")
    print_table(columns, rows(seconds))


if __name__ == "__main__":
    main()
