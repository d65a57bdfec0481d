"""What the parts of a search and of a training take on this machine, with real Ray: medians, for `benchmarks.scaling`.

Whoever calls is connected to Ray.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
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
from benchmarks.common.oracles import Oracle
from benchmarks.common.step_timing import Engine, seconds, settings
from benchmarks.common.timed_search import TimedNsga2
from benchmarks.scaling.model import Overheads, Starts, TrainingCosts, line
from benchmarks.scaling.ray_share import timings
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
"""Of a question: more than there are actors here are as many calls of these, and as much work for whoever asks."""
ASKED = (1, 16, 64, 256)
FILE_BYTES = (2**20, 2**23, 2**26)
REDUCED_BYTES = (2**12, 2**16, 2**20, 2**22, 2**24)
WORKERS = (1, 2)
LOCAL_BATCHES = (4, 8, 16, 32)
REPEATS = 3
QUICK_REPEATS = 15
"""Of what takes much less than a second."""
SEED = 0


class FreeAnswers(Oracle):
    """What actors answer that hold a `FreeOracle`, without actors."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space

    def top1(self, architectures: Sequence[Architecture]) -> NDArray[np.float64]:
        answers = FreeOracle().evaluate([one.indices for one in architectures], None)
        return np.array([one["top1"] for one in answers])


def actor_starts(weights_bytes: float) -> Starts:
    """How actors start that read so large a file of weights."""
    few, many = min(ACTORS), max(ACTORS)
    created: dict[int, list[float]] = {few: [], many: []}
    ready: dict[int, list[float]] = {few: [], many: []}
    for _ in range(REPEATS):
        for actors in (few, many):
            began = time.perf_counter()
            with _free_actors(actors) as names:
                created[actors].append(time.perf_counter() - began)
                ray.get([ray.get_actor(name, NAMESPACE).measured.remote() for name in names])
                ready[actors].append(time.perf_counter() - began)
    further, create = (max(median(one[many]) - median(one[few]), 0.0) / (many - few) for one in (ready, created))
    once, byte = _reading()
    return Starts(median(ready[few]), further, create, once + byte * weights_bytes)


def askings(space: SearchSpace) -> list[tuple[int, int, float]]:
    """Return (architectures, calls of actors, seconds of `EvaluatorPool.evaluate`) for evaluators that cost nothing."""
    generator = np.random.default_rng(SEED)
    costs = space.costs()
    found = []
    with _free_actors(max(ACTORS)) as names:
        for calls in CALLS:
            pool = EvaluatorPool([names[call % len(names)] for call in range(calls)], costs, Budget({}))
            for architectures in [one for one in ASKED if one >= calls]:
                taken = []
                for _ in range(QUICK_REPEATS + 1):
                    asked = [space.sample(generator) for _ in range(architectures)]
                    taken.append(seconds(partial(pool.evaluate, asked)))
                found.append((architectures, calls, median(taken[1:])))
    return found


@contextmanager
def _free_actors(actors: int) -> Iterator[tuple[str, ...]]:
    """The names of so many actors that hold a free oracle."""
    scale = ScaleSettings(evaluate=EvaluateScale(actors=actors))
    request = EvaluationRequest(FreeOracle(), None)
    with tempfile.TemporaryDirectory() as folder, start_evaluators(folder, "scaling", 1, request, scale) as names:
        yield names


def overheads(asked: Sequence[tuple[int, int, float]], oracle: Oracle) -> Overheads:
    """What a generation takes beside its architectures, of whole searches of the free oracle by 2 actors.

    Tune's share is what is left of these when all the rest is taken away.
    """
    searcher = TimedNsga2()
    measured = list(timings(REPEATS, searcher))
    generation, search = (
        median(taken) / searcher.generations
        for taken in ([one.generations for one in measured], [one.search for one in measured])
    )
    write = _writing(oracle, searcher)
    question, architecture, actor = line(asked)
    found = Overheads(search, question, architecture, actor, write)
    rest = generation - search - write - found.asking(searcher.population, 2)
    return replace(found, report=max(rest, 0.0))


def _writing(oracle: Oracle, searcher: TimedNsga2) -> float:
    """The seconds in which a trial writes a generation's table and state, over all generations of a search."""
    search = searcher.begin(oracle.space, oracle.costs, Budget({}), SEED)
    taken: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(folder)
        table = EvaluationTable(run)
        while architectures := search.ask():
            evaluations = oracle.evaluate(architectures)
            search.tell(evaluations)
            about: dict[str, Any] = {
                "recipe_hash": "scaling",
                "reproducible": True,
                "part": "validation",
                "weights_version": "none",
                "seed": SEED,
            }
            write = [
                partial(table.write, "scaling", 0, len(taken), evaluations, about),
                partial(run.write_json, "trial-0.json", {"state": search.state()}),
            ]
            taken.append(sum(map(seconds, write)))
    return median(taken)


def _reading() -> tuple[float, float]:
    """The seconds in which an actor reads and verifies a file of weights: of any, and for each of its bytes."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(folder)
        for nbytes in FILE_BYTES:
            run.write_tensors("weights.safetensors", {"weights": torch.zeros(nbytes // 4)}, {})
            read = partial(run.read_tensors, "weights.safetensors")
            found.append((nbytes, median(seconds(read) for _ in range(QUICK_REPEATS))))
    once, byte = line(found)
    return once, byte


@dataclass(frozen=True)
class Group:
    """What a group of Ray Train workers took, in seconds, as its first worker saw it.

    Attributes:
        start: from the call of `fit` until the workers have built their supernets.
        reduced: an all-reduce, for each of `REDUCED_BYTES`.
        steps: a training step on each of `LOCAL_BATCHES` images a worker.
    """

    start: float
    reduced: Sequence[float]
    steps: Sequence[float]


def group(workers: int) -> Group:
    """Start a group as raynas does, once, and let it add up and train."""
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    with tempfile.TemporaryDirectory() as folder:
        began = time.time()
        TorchTrainer(
            _work,
            train_loop_config={"folder": folder},
            torch_config=TorchConfig("gloo"),
            scaling_config=ScalingConfig(num_workers=workers, resources_per_worker={"CPU": 1}),
            run_config=RunConfig(name="scaling", storage_path=str(Path(folder) / "ray")),
        ).fit()
        told = RunFolder(folder).read_json("told.json")
    return Group(told["built"] - began, told["reduced"], told["steps"])


def _work(config: dict[str, Any]) -> None:
    """One worker of a group. The first writes down what it saw."""
    from ray import train

    prepare_process(1, deterministic=False)
    space = settings()[-1].space
    generator = torch.Generator().manual_seed(SEED)
    images = torch.randn(max(LOCAL_BATCHES), 3, space.resolution, space.resolution, generator=generator)
    engine = Engine(space, images.to(memory_format=torch.channels_last), torch.zeros(len(images), dtype=torch.long))
    told = {
        "built": time.time(),
        "reduced": [_together(partial(_reduce, torch.zeros(nbytes // 4)), QUICK_REPEATS) for nbytes in REDUCED_BYTES],
        "steps": [_together(partial(_step, engine, size), QUICK_REPEATS) for size in LOCAL_BATCHES],
    }
    if train.get_context().get_world_rank() == 0:
        RunFolder(config["folder"]).write_json("told.json", told)


def _together(work: Callable[[int], None], repeats: int) -> float:
    """The median seconds of what all workers of the group do at once, after one that is not timed."""
    taken = []
    for repeat in range(repeats + 1):
        if distributed.is_initialized():
            distributed.barrier()
        taken.append(seconds(partial(work, repeat)))
    return median(taken[1:])


def _reduce(gradient: Tensor, _: int) -> None:
    parameter = nn.Parameter(torch.empty_like(gradient))
    parameter.grad = gradient
    add_over_workers([parameter], {})


def _step(engine: Engine, images: int, seed: int) -> None:
    """The same path on every worker."""
    whole = engine.batch
    engine.batch = type(whole)(whole.images[:images], whole.labels[:images], 1.0)
    engine.step(seed)
    engine.batch = whole


def training_costs(groups: dict[int, Group]) -> TrainingCosts:
    """A step by its images from one worker alone; a message's latency and the bandwidth from two."""
    alone, pair = groups[1], groups[2]
    step, image = line(list(zip(LOCAL_BATCHES, alone.steps, strict=True)))
    latency, byte = line(list(zip(REDUCED_BYTES, pair.reduced, strict=True)))
    return TrainingCosts(step, image, latency / 2, 1 / byte, [alone.start, pair.start])


def path_bytes() -> float:
    """The bytes of a path's gradients, on average, in the space that is trained here."""
    space = settings()[-1].space
    generator = np.random.default_rng(SEED)
    return 4 * float(space.costs().cost([space.sample(generator) for _ in range(256)])["params"].double().mean())
