"""Latency on this machine: the table of a space's blocks, and how well its sums predict whole networks."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy import stats

from raynas.runtime.process import cpu_model
from raynas.storage.progress import Reporter
from search_spaces import Architecture, LatencyTable, SearchSpace
from search_spaces.errors import UserError, format_count
from search_spaces.latency_table import LatencyKey, TimedBlock

_CALLS = 10
"""Consecutive calls of a network, or of a block on a GPU, in each round."""
_WARM_UP_ROUNDS = 2
"""These rounds come first and do not count."""


@dataclass(frozen=True)
class TimingSettings:
    """The device, and how blocks and networks are timed on it.

    The blocks are timed in groups. Each round visits the blocks of a group in turn, and a group takes its blocks from
    everywhere in the network, so that a slow minute of the machine affects all blocks alike. A group should be somewhat
    larger than a network. In larger groups the weights of a block have left all caches when its turn comes. Measured:
    the 2,052 blocks of `fbnetv2-f` sum to 14 % more than networks take in one group, and to 3 % more in groups of 64;
    the 105 blocks of `fbnet` to 17 % and to 6 % more. The blocks of FP-NAS-L2 take 10 GB, too much for many machines.

    Attributes:
        device: `cpu`, `cuda`, or one of several GPUs, `cuda:1`.
        threads: of torch, on the CPU.
        batch_size: images in each call.
        rounds: how many times each block or network is timed; the median counts.
        group_size: blocks in a group, which are in memory together.
    """

    device: str = "cpu"
    threads: int = 1
    batch_size: int = 1
    rounds: int = 100
    group_size: int = 64

    def __post_init__(self) -> None:
        """Check the device.

        Raises:
            UserError: if the device is neither the CPU nor a GPU of this machine.
        """
        kind, _, index = self.device.partition(":")
        if self.device != "cpu" and (kind != "cuda" or (index and not index.isdigit())):
            raise UserError(f"The device is {self.device!r}; it must be cpu, cuda, or one GPU such as cuda:1.")
        gpus = torch.cuda.device_count()
        if kind == "cuda" and int(index or 0) >= gpus:
            raise UserError(
                f"The device {self.device} is not on this machine: torch finds {format_count(gpus, 'GPU')}. Use cpu."
            )

    @property
    def device_name(self) -> str:
        return cpu_model() if self.device == "cpu" else torch.cuda.get_device_name(self.device)

    def json_value(self) -> dict[str, Any]:
        """Return the settings as plain JSON, with the name of the device, the version of torch and the date."""
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        return {**asdict(self), "device_name": self.device_name, "torch": str(torch.__version__), "date": now}


def measure_blocks(
    blocks: Mapping[LatencyKey, TimedBlock], timing: TimingSettings, reporter: Reporter
) -> tuple[LatencyTable, float]:
    """Time every block of a space (`space.latency_blocks()`).

    A CPU calls each block once a round, because in a network, too, the weights of a block have left the innermost
    caches when its turn comes. Measured, against whole networks: blocks called once a round sum to between -3 % and
    +6 %, blocks called several times in a row to between -16 % and -12 %. Blocks of cells sum to as little as -18 %,
    because the table leaves out the sums of the nodes. A GPU overlaps consecutive calls, so it calls each block several
    times in a row.

    Returns:
        The table, in milliseconds a batch; and the spread in per cent: the distance between the quartiles of a block's
        rounds as a share of their median, for the median block.
    """
    reporter.begin("measure", f"{format_count(len(blocks), 'block')} on {timing.device_name}")
    calls = 1 if timing.device == "cpu" else _CALLS
    rounds_ms = _time_rounds(list(blocks.values()), calls, timing, reporter)
    low, median, high = np.quantile(rounds_ms, [0.25, 0.5, 0.75], axis=0)
    entries: dict[LatencyKey, float] = dict(zip(blocks, np.round(median, 6).tolist(), strict=True))
    table = LatencyTable(entries, f"The latency table of {timing.device_name}")
    return table, float(np.median(100 * (high - low) / median))


@dataclass(frozen=True)
class Agreement:
    """How well the sums of a table predict the measured times of networks.

    The error of a network is its summed minus its measured time.

    Attributes:
        pearson, spearman, kendall: correlations of sums and measurements; None if either of them does not vary.
        bias_ms, bias_percent: the mean error, and the mean of errors over measured times.
        mean_error_percent: the mean of absolute errors over measured times.
        rms_error_ms: the root of the mean square error.
        unbiased_mean_error_percent, unbiased_rms_error_ms: these two after `bias_ms` is subtracted from every sum.
    """

    pearson: float | None
    spearman: float | None
    kendall: float | None
    bias_ms: float
    bias_percent: float
    mean_error_percent: float
    rms_error_ms: float
    unbiased_mean_error_percent: float
    unbiased_rms_error_ms: float


def compare_times(summed_ms: Sequence[float], measured_ms: Sequence[float]) -> Agreement:
    """Compare the summed with the measured times of two or more networks."""
    summed, measured = np.asarray(summed_ms), np.asarray(measured_ms)
    error = summed - measured
    unbiased = error - error.mean()
    varies = bool(np.ptp(summed) > 0 and np.ptp(measured) > 0)
    return Agreement(
        pearson=float(stats.pearsonr(summed, measured).statistic) if varies else None,
        spearman=float(stats.spearmanr(summed, measured).statistic) if varies else None,
        kendall=float(stats.kendalltau(summed, measured).statistic) if varies else None,
        bias_ms=float(error.mean()),
        bias_percent=float(100 * np.mean(error / measured)),
        mean_error_percent=float(100 * np.mean(abs(error) / measured)),
        rms_error_ms=float(np.sqrt(np.mean(error**2))),
        unbiased_mean_error_percent=float(100 * np.mean(abs(unbiased) / measured)),
        unbiased_rms_error_ms=float(np.sqrt(np.mean(unbiased**2))),
    )


def time_networks(
    space: SearchSpace, table: LatencyTable, count: int, seed: int, timing: TimingSettings, reporter: Reporter
) -> list[dict[str, Any]]:
    """Draw distinct architectures, sum their latencies from the table and time their networks.

    Returns:
        `architecture`, `summed_ms` and `measured_ms` of each network.

    Raises:
        UserError: if the table lacks a block of the space, or the space has fewer architectures.
    """
    costs = space.costs(latency=table)
    if space.size() < count:
        raise UserError(
            f"{space.name} has only {format_count(space.size(), 'architecture')}: --architectures cannot be {count}."
        )
    generator = np.random.default_rng(seed)
    drawn: dict[Architecture, None] = {}
    while len(drawn) < count:
        drawn[space.sample(generator)] = None
    summed_ms: list[float] = costs.cost(list(drawn))["latency_ms"].tolist()
    image = (3, space.resolution, space.resolution)
    networks = [TimedBlock(partial(space.network, architecture), image) for architecture in drawn]
    reporter.begin("check", f"{format_count(count, 'network')} of {space.name} on {timing.device_name}")
    measured_ms = np.median(_time_rounds(networks, _CALLS, timing, reporter), axis=0).tolist()
    return [
        {"architecture": str(architecture), "summed_ms": summed, "measured_ms": measured}
        for architecture, summed, measured in zip(drawn, summed_ms, measured_ms, strict=True)
    ]


def _time_rounds(
    blocks: Sequence[TimedBlock], calls: int, timing: TimingSettings, reporter: Reporter
) -> np.ndarray[tuple[int, int], Any]:
    """Return the milliseconds of one call of each block in each round, shape (rounds, blocks)."""
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # the next import warns without a GPU
    from torch.utils.benchmark import timer  # waits for the GPU

    start, threads = time.perf_counter(), torch.get_num_threads()
    inputs = {block.input_shape: _random_images(block.input_shape, timing) for block in blocks}
    groups = -(-len(blocks) // timing.group_size)
    rounds_ms = np.empty((_WARM_UP_ROUNDS + timing.rounds, len(blocks)))
    torch.set_num_threads(timing.threads)
    try:
        with torch.inference_mode():
            for group in range(groups):
                members = blocks[group::groups]
                modules = [(_prepare(block.build(), timing), inputs[block.input_shape]) for block in members]
                for number, times_ms in enumerate(rounds_ms[:, group::groups], start=1):
                    for position, (module, images) in enumerate(modules):
                        begin = timer()
                        for _ in range(calls):
                            module(images)
                        times_ms[position] = 1e3 * (timer() - begin) / calls
                    reporter.update(group * len(rounds_ms) + number, groups * len(rounds_ms), "rounds")
    finally:
        torch.set_num_threads(threads)
    reporter.end("", time.perf_counter() - start)
    return rounds_ms[_WARM_UP_ROUNDS:]


def _prepare(module: torch.nn.Module, timing: TimingSettings) -> torch.nn.Module:
    return module.eval().to(torch.device(timing.device)).to(memory_format=torch.channels_last)


def _random_images(shape: tuple[int, ...], timing: TimingSettings) -> torch.Tensor:
    images = torch.randn(timing.batch_size, *shape, device=timing.device)
    return images.contiguous(memory_format=torch.channels_last) if images.ndim == 4 else images
