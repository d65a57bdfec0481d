"""The loops of the training step's benchmark, and its counts of bytes."""

import math
from dataclasses import asdict

import numpy as np
import pytest

import search_spaces
from benchmarks.common.step_timing import TimedSetting
from benchmarks.speed.training import one_worker, two_workers

SPACE = search_spaces.load("nas-bench-macro", width=0.25, resolution=16, num_classes=10)
TINY = TimedSetting("tiny", SPACE, batch_size=4, architectures=2)


@pytest.mark.slow
def test_every_loop_of_one_worker_runs() -> None:
    row = one_worker(TINY, turns=1)
    figures = [value for value in asdict(row).values() if not isinstance(value, str)]
    assert all(math.isfinite(value) for value in figures)
    assert row.peak_bytes > 0
    assert row.images in ("digits", "cifar10_subset12k")


@pytest.mark.slow
def test_the_engine_reduces_the_path_and_its_metrics_but_ddp_everything() -> None:
    row = two_workers(TINY, turns=1)
    own = SPACE.costs().cost([SPACE.sample(np.random.default_rng(0))])["params"]
    assert row.path_bytes == pytest.approx(4 * float(own[0]))
    loss_and_accuracy = 2
    assert row.engine_bytes == row.path_bytes + 4 * loss_and_accuracy
    assert row.ddp_bytes >= row.supernet_bytes > 2 * row.path_bytes
