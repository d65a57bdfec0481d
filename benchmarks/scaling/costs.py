"""Measure the parts of a search and of a training on this machine, with real Ray, for `benchmarks.scaling`.

All figures are medians. The process must be connected to Ray.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import ray
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed, nn

from benchmarks.common.actor_oracles import FreeOracle
from benchmarks.common.oracles import KnownOracle
from benchmarks.common.step_timing import Engine, seconds, settings
from benchmarks.common.timed_search import TimedNsga2
from benchmarks.scaling.model import Overheads, Starts, TrainingCosts, fit_line
from benchmarks.scaling.ray_share import time_searches
from raynas.evaluation.actors import EvaluatorPool, start_evaluators
from raynas.evaluation.request import EvaluationRequest
from raynas.recipe.settings import EvaluateScale, ScaleSettings
from raynas.results.evaluation_table import EvaluationTable
from raynas.runtime.process import NAMESPACE, prepare_process
from raynas.storage.run_folder import RunFolder
from raynas.training.all_reduce import add_over_workers
from search_spaces import Architecture, Budget, SearchSpace

ACTORS = (1, 2, 4)
CALLS = (1, 2, 4, 16, 64, 256)
"""Calls of a request. More calls than evaluators go to the same evaluators, and cost the caller the same."""
ARCHITECTURES = (1, 16, 64, 256)
FILE_BYTES = (2**20, 2**23, 2**26)
REDUCED_BYTES = (2**12, 2**16, 2**20, 2**22, 2**24)
WORKERS = (1, 2)
LOCAL_BATCHES = (4, 8, 16, 32)
REPEATS = 3
QUICK_REPEATS = 15
"""Repeats of measurements far below a second."""
SEED = 0
_FIGURES = "figures.json"


class LocalFreeOracle(KnownOracle):
    """The accuracies of `FreeOracle` in this process, without evaluators."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space

    def top1(self, architectures: Sequence[Architecture]) -> NDArray[np.float64]:
        figures = FreeOracle().evaluate([architecture.indices for architecture in architectures], None)
        return np.array([row["top1"] for row in figures])


def measure_starts(weights_bytes: float) -> Starts:
    """Measure the start of evaluators that read a file of weights of this size."""
    few, many = min(ACTORS), max(ACTORS)
    created: dict[int, list[float]] = {few: [], many: []}
    ready: dict[int, list[float]] = {few: [], many: []}
    for _ in range(REPEATS):
        for actors in (few, many):
            start = time.perf_counter()
            with _free_evaluators(actors) as names:
                created[actors].append(time.perf_counter() - start)
                ray.get([ray.get_actor(name, NAMESPACE).measured.remote() for name in names])
                ready[actors].append(time.perf_counter() - start)
    further, create = (max(median(times[many]) - median(times[few]), 0.0) / (many - few) for times in (ready, created))
    constant, per_byte = _measure_reading()
    return Starts(median(ready[few]), further, create, constant + per_byte * weights_bytes)


def measure_requests(space: SearchSpace) -> list[tuple[int, int, float]]:
    """Return (architectures, calls of actors, seconds of `EvaluatorPool.evaluate`) for evaluators that cost nothing."""
    generator = np.random.default_rng(SEED)
    costs = space.costs()
    rows = []
    with _free_evaluators(max(ACTORS)) as names:
        for calls in CALLS:
            called = tuple(names[call % len(names)] for call in range(calls))
            pool = EvaluatorPool(EvaluationRequest(FreeOracle(), None).to(called, "scaling"), costs, Budget({}))
            for size in [size for size in ARCHITECTURES if size >= calls]:
                times = []
                for _ in range(QUICK_REPEATS + 1):
                    architectures = [space.sample(generator) for _ in range(size)]
                    times.append(seconds(partial(pool.evaluate, architectures)))
                rows.append((size, calls, median(times[1:])))
    return rows


@contextmanager
def _free_evaluators(actors: int) -> Iterator[tuple[str, ...]]:
    """Start evaluators with a free oracle. Yields their names."""
    scale = ScaleSettings(evaluate=EvaluateScale(actors=actors))
    with tempfile.TemporaryDirectory() as folder, start_evaluators(folder, "scaling", 1, scale) as names:
        yield names


def measure_overheads(requests: Sequence[tuple[int, int, float]], oracle: KnownOracle) -> Overheads:
    """Measure a generation besides its architectures, in whole searches of the free oracle by 2 evaluators.

    Tune's share is the rest of these searches, without all measured parts.

    Args:
        requests: as `measure_requests` returns them.
    """
    searcher = TimedNsga2()
    timings = list(time_searches(REPEATS, searcher))
    generation = median(timing.generations for timing in timings) / searcher.generations
    search = median(timing.search for timing in timings) / searcher.generations
    write = _measure_writing(oracle, searcher)
    request, architecture, actor = fit_line(requests)
    overheads = Overheads(search, request, architecture, actor, write)
    rest = generation - search - write - overheads.request_seconds(searcher.population, 2)
    return replace(overheads, report=max(rest, 0.0))


def _measure_writing(oracle: KnownOracle, searcher: TimedNsga2) -> float:
    """Return the seconds in which a trial writes a generation's table and state, over all generations of a search."""
    search = searcher.begin(oracle.space, oracle.costs, Budget({}), SEED)
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(folder)
        table = EvaluationTable(run)
        while architectures := search.ask():
            evaluations = oracle.evaluate(architectures)
            search.tell(evaluations)
            columns: dict[str, Any] = {
                "recipe_hash": "scaling",
                "reproducible": True,
                "part": "validation",
                "weights_version": "none",
                "seed": SEED,
            }
            write = [
                partial(table.write, "scaling", 0, len(times), evaluations, columns),
                partial(run.write_json, "trial-0.json", {"state": search.state()}),
            ]
            times.append(sum(map(seconds, write)))
    return median(times)


def _measure_reading() -> tuple[float, float]:
    """Return the seconds in which an evaluator reads and verifies a file of weights: of any file, and for each byte."""
    points = []
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(folder)
        for nbytes in FILE_BYTES:
            run.write_tensors("weights.safetensors", {"weights": torch.zeros(nbytes // 4)}, {})
            read = partial(run.read_tensors, "weights.safetensors")
            points.append((nbytes, median(seconds(read) for _ in range(QUICK_REPEATS))))
    constant, per_byte = fit_line(points)
    return constant, per_byte


@dataclass(frozen=True)
class GroupFigures:
    """The seconds of a group of Ray Train workers, measured by its first worker.

    Attributes:
        start: from the call of `fit` until the workers have built their supernets.
        reduced: of an all-reduce, for each of `REDUCED_BYTES`.
        steps: of a training step, for each of `LOCAL_BATCHES`: images of each worker.
    """

    start: float
    reduced: Sequence[float]
    steps: Sequence[float]


def measure_group(workers: int) -> GroupFigures:
    """Start a group once, as a run does, and measure its all-reduces and training steps."""
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    with tempfile.TemporaryDirectory() as folder:
        start = time.time()
        TorchTrainer(
            _work,
            train_loop_config={"folder": folder},
            torch_config=TorchConfig("gloo"),
            scaling_config=ScalingConfig(num_workers=workers, resources_per_worker={"CPU": 1}),
            run_config=RunConfig(name="scaling", storage_path=str(Path(folder) / "ray")),
        ).fit()
        figures = RunFolder(folder).read_json(_FIGURES)
    return GroupFigures(figures["built"] - start, figures["reduced"], figures["steps"])


def _work(config: dict[str, Any]) -> None:
    """Measure as one worker of a group. The first worker writes the figures."""
    from ray import train

    prepare_process(1, deterministic=False)
    space = settings()[-1].space
    generator = torch.Generator().manual_seed(SEED)
    images = torch.randn(max(LOCAL_BATCHES), 3, space.resolution, space.resolution, generator=generator)
    engine = Engine(space, images.to(memory_format=torch.channels_last), torch.zeros(len(images), dtype=torch.long))
    figures = {
        "built": time.time(),
        "reduced": [
            _group_seconds(partial(_reduce, torch.zeros(nbytes // 4)), QUICK_REPEATS) for nbytes in REDUCED_BYTES
        ],
        "steps": [_group_seconds(partial(_step, engine, size), QUICK_REPEATS) for size in LOCAL_BATCHES],
    }
    if train.get_context().get_world_rank() == 0:
        RunFolder(config["folder"]).write_json(_FIGURES, figures)


def _group_seconds(work: Callable[[int], None], repeats: int) -> float:
    """Return the median seconds of work that all workers do at once, after one call without timing."""
    times = []
    for repeat in range(repeats + 1):
        if distributed.is_initialized():
            distributed.barrier()
        times.append(seconds(partial(work, repeat)))
    return median(times[1:])


def _reduce(gradient: Tensor, _: int) -> None:
    parameter = nn.Parameter(torch.empty_like(gradient))
    parameter.grad = gradient
    add_over_workers([parameter], {})


def _step(engine: Engine, images: int, seed: int) -> None:
    """Take a training step on this number of images. A seed draws the same path on every worker."""
    batch = engine.batch
    engine.batch = type(batch)(batch.images[:images], batch.labels[:images], 1.0)
    engine.step(seed)
    engine.batch = batch


def training_costs(groups: Mapping[int, GroupFigures]) -> TrainingCosts:
    """Fit a training step by its images with one worker, and a message's latency and the bandwidth with two."""
    alone, pair = groups[1], groups[2]
    step, image = fit_line(list(zip(LOCAL_BATCHES, alone.steps, strict=True)))
    latency, per_byte = fit_line(list(zip(REDUCED_BYTES, pair.reduced, strict=True)))
    return TrainingCosts(step, image, latency / 2, 1 / per_byte, [alone.start, pair.start])


def path_bytes() -> float:
    """Return the average bytes of a path's gradients in the space of the training steps."""
    space = settings()[-1].space
    generator = np.random.default_rng(SEED)
    return 4 * float(space.costs().cost([space.sample(generator) for _ in range(256)])["params"].mean())
