"""Latency on this machine: the table of a space's blocks, and how well its sums foretell whole networks."""

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
from search_spaces.errors import UserError
from search_spaces.latency_table import LatencyKey, TimedBlock

_CALLS = 10
"""How often a network, or a block on a GPU, is called on end in each round."""

_WARM_UP = 2
"""How many rounds come first and do not count."""


@dataclass(frozen=True)
class Bench:
    """What blocks and networks are timed on, and how.

    Attributes:
        device: `cpu`, `cuda`, or one of several GPUs, `cuda:1`.
        threads: of torch, on the CPU.
        rounds: how often each is timed; the median counts.
        together: how many blocks are built at a time and visited in turn in each round, from everywhere in the network,
            so that a slow minute of the machine falls on all alike: somewhat more than a network has. With more of them
            a block's weights have left all caches when its turn comes: the 2,052 of `fbnetv2-f` in one turn sum to 14 %
            more than networks take, 64 in turn to 3 % more, `fbnet`'s 105 to 17 % and to 6 % (measured). Nor would
            those of FP-NAS-L2, 10 GB, fit into many machines.
    """

    device: str = "cpu"
    threads: int = 1
    batch_size: int = 1
    rounds: int = 100
    together: int = 64

    def __post_init__(self) -> None:
        """Refuse what cannot be timed on.

        Raises:
            UserError: if the device is neither a CPU nor a GPU that is here.
        """
        kind, _, index = self.device.partition(":")
        if self.device != "cpu" and (kind != "cuda" or (index and not index.isdigit())):
            raise UserError(f"The device is cpu, cuda, or cuda:1 and the like, not {self.device!r}.")
        if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
            raise UserError(f"There is no {self.device} here: torch sees {torch.cuda.device_count()} GPUs; use cpu.")

    @property
    def device_name(self) -> str:
        return cpu_model() if self.device == "cpu" else torch.cuda.get_device_name(self.device)

    def about(self) -> dict[str, Any]:
        """What a reader of the figures has to know."""
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        return {**asdict(self), "device_name": self.device_name, "torch": str(torch.__version__), "date": now}


def measure(blocks: Mapping[LatencyKey, TimedBlock], bench: Bench, reporter: Reporter) -> tuple[LatencyTable, float]:
    """The time of every block (`space.latency_blocks()`), in milliseconds a batch, and the rounds' spread in %.

    On a CPU a block is called once a round: in a network, too, its weights have left the innermost caches when its turn
    comes. Blocks called on end sum to 12 to 16 % less than what networks take, so called to -3 to +6 % (measured), and
    those of cells, whose nodes' sums are left out, to -18 %. A GPU begins one call while it ends another, and there
    they are called on end.

    The spread is how far apart a quarter and three quarters of a block's rounds lie, for the middle one of the blocks.
    """
    reporter.begin("measure", f"{len(blocks)} blocks on {bench.device_name}")
    rounds_ms = _rounds_ms(list(blocks.values()), 1 if bench.device == "cpu" else _CALLS, bench, reporter)
    low, middle, high = np.quantile(rounds_ms, [0.25, 0.5, 0.75], axis=0)
    entries: dict[LatencyKey, float] = dict(zip(blocks, np.round(middle, 6).tolist(), strict=True))
    table = LatencyTable(entries, f"The latency table of {bench.device_name}")
    return table, float(np.median(100 * (high - low) / middle))


@dataclass(frozen=True)
class Agreement:
    """How a table's sums compare with measured networks. A correlation is None where either side does not vary.

    Attributes:
        bias_ms, bias_percent: the mean of summed less measured, and of that over measured.
        mean_error_percent, rms_error_ms: the mean size of the errors over measured, and the root of their mean square.
        unbiased_mean_error_percent, unbiased_rms_error_ms: the same after `bias_ms` is taken from every sum.
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


def agreement(summed_ms: Sequence[float], measured_ms: Sequence[float]) -> Agreement:
    """The agreement of sums with measurements of the same networks, two or more."""
    summed, measured = np.asarray(summed_ms), np.asarray(measured_ms)
    error = summed - measured
    rest = error - error.mean()
    varies = bool(np.ptp(summed) > 0 and np.ptp(measured) > 0)
    return Agreement(
        pearson=float(stats.pearsonr(summed, measured).statistic) if varies else None,
        spearman=float(stats.spearmanr(summed, measured).statistic) if varies else None,
        kendall=float(stats.kendalltau(summed, measured).statistic) if varies else None,
        bias_ms=float(error.mean()),
        bias_percent=float(100 * np.mean(error / measured)),
        mean_error_percent=float(100 * np.mean(abs(error) / measured)),
        rms_error_ms=float(np.sqrt(np.mean(error**2))),
        unbiased_mean_error_percent=float(100 * np.mean(abs(rest) / measured)),
        unbiased_rms_error_ms=float(np.sqrt(np.mean(rest**2))),
    )


def check(
    space: SearchSpace, table: LatencyTable, count: int, seed: int, bench: Bench, reporter: Reporter
) -> list[dict[str, Any]]:
    """Random architectures, no two alike, with what the table's sums foretell and what their networks take.

    Returns:
        For each `architecture` its `summed_ms` and `measured_ms`.

    Raises:
        UserError: if the table lacks a block of the space, or the space has fewer architectures.
    """
    costs = space.costs(latency=table)
    if space.size() < count:
        raise UserError(f"{space.name} has {space.size()} architectures, not {count}; ask for fewer --architectures.")
    generator = np.random.default_rng(seed)
    drawn: dict[Architecture, None] = {}
    while len(drawn) < count:
        drawn[space.sample(generator)] = None
    summed_ms: list[float] = costs.cost(list(drawn))["latency_ms"].tolist()
    image = (3, space.resolution, space.resolution)
    networks = [TimedBlock(partial(space.network, one), image) for one in drawn]
    reporter.begin("check", f"{count} networks of {space.name} on {bench.device_name}")
    measured_ms = np.median(_rounds_ms(networks, _CALLS, bench, reporter), axis=0).tolist()
    return [
        {"architecture": str(one), "summed_ms": summed, "measured_ms": measured}
        for one, summed, measured in zip(drawn, summed_ms, measured_ms, strict=True)
    ]


def _rounds_ms(
    blocks: Sequence[TimedBlock], calls: int, bench: Bench, reporter: Reporter
) -> np.ndarray[tuple[int, int], Any]:
    """The milliseconds that a call of each takes, in each round: shape (rounds, blocks)."""
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # the next import warns where no GPU is
    from torch.utils.benchmark import timer  # waits for the GPU

    begun, threads = time.perf_counter(), torch.get_num_threads()
    inputs = {block.input_shape: _images(block.input_shape, bench) for block in blocks}
    parts = -(-len(blocks) // bench.together)
    rounds_ms = np.empty((_WARM_UP + bench.rounds, len(blocks)))
    torch.set_num_threads(bench.threads)
    try:
        with torch.inference_mode():
            for part in range(parts):
                modules = [(_ready(block.build(), bench), inputs[block.input_shape]) for block in blocks[part::parts]]
                for number, times_ms in enumerate(rounds_ms[:, part::parts], start=1):
                    for position, (module, images) in enumerate(modules):
                        start = timer()
                        for _ in range(calls):
                            module(images)
                        times_ms[position] = 1e3 * (timer() - start) / calls
                    reporter.update(part * len(rounds_ms) + number, parts * len(rounds_ms), "rounds")
    finally:
        torch.set_num_threads(threads)
    reporter.end("", time.perf_counter() - begun)
    return rounds_ms[_WARM_UP:]


def _ready(module: torch.nn.Module, bench: Bench) -> torch.nn.Module:
    return module.eval().to(torch.device(bench.device)).to(memory_format=torch.channels_last)


def _images(shape: tuple[int, ...], bench: Bench) -> torch.Tensor:
    images = torch.randn(bench.batch_size, *shape, device=bench.device)
    return images.contiguous(memory_format=torch.channels_last) if images.ndim == 4 else images
