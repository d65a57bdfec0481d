"""How fast raynas evaluates and trains beside plain loops, and how far from what the machine can do.

    python -m benchmarks.speed [--peer nni] [--peer ofa]

On the images of CIFAR-10 beside the checkout where they are there, else on the digits. Everything is measured side by
side in one run, in under ten minutes on two cores: the ratios are what counts.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

import search_spaces
from benchmarks.common.report import heading, table
from benchmarks.speed import evaluation, peers, training
from benchmarks.speed import search as searching
from benchmarks.speed.evaluation import Work, nodes, peak_mib, populations, trained
from raynas.cluster import ray_session
from raynas.data import DataSettings, Images, batch, open_images, prepare
from raynas.recipe.recipe import Recipe
from raynas.recipe.settings import EvaluationSettings, RacingSettings
from raynas.runtime.process import prepare_process
from search_spaces import Architecture, SearchSpace
from search_spaces.supernet import Supernet

CIFAR10 = Path(__file__).parents[3] / "shared" / "data" / "cifar10_subset12k.npz"
SEED = 0
GENERATION = 64
PLAIN = 2
"""Architectures a turn of the plain loop, which takes as long for one as for another."""
TURNS = 2
BATCH = 128
EVALUATION = EvaluationSettings(batch_size=BATCH, recalibration_images=512, recalibration_batch_size=BATCH)
VALIDATION = 50
"""Images of each class that are measured."""
STEPS, DEMO_STEPS = 60, 300
PEER_NETWORKS = 4
KINDS = (("random", True, False), ("converged", True, True), ("converged", False, False))
"""Populations, whether batch norm is recalibrated, and whether they are evaluated in bfloat16, too."""


@dataclass(frozen=True)
class Row:
    """Evaluations a second of one population.

    Attributes:
        default, channels_last: of the plain loop.
        engine, lower: of a supernet actor, in float32 and in bfloat16.
        same_top1: whether top-1 was equal for every architecture that both measured.
        apart: the greatest difference of any logit.
    """

    population: str
    recalibrated: bool
    default: float
    channels_last: float
    engine: float
    lower: float | None
    same_top1: bool
    apart: float

    def cells(self) -> list[str]:
        return [
            self.population,
            "yes" if self.recalibrated else "no",
            f"{self.default:.2f}",
            f"{self.channels_last:.2f}",
            f"{self.engine:.2f}",
            f"{self.engine / self.default:.1f}x",
            f"{self.engine / self.channels_last:.1f}x",
            *(("", "") if self.lower is None else (f"{self.lower:.2f}", f"{self.lower / self.default:.1f}x")),
            "yes" if self.same_top1 else "no",
            f"{self.apart:.1e}",
        ]


def compare(
    name: str,
    generation: Sequence[Architecture],
    recalibrated: bool,
    in_bfloat16: bool,
    labels: Tensor,
    beside: ProcessPoolExecutor,
) -> Row:
    """The plain loop in both layouts, in its own process, and a supernet actor's way in this one, in turns."""
    asked = [one.indices for one in generation]
    default: list[float] = []
    channels_last: list[float] = []
    apart, same = 0.0, True
    engine = evaluation.together(asked, recalibrated, "float32")
    lower = evaluation.together(asked, recalibrated, "bfloat16") if in_bfloat16 else None
    for turn in range(TURNS):
        some = asked[PLAIN * turn : PLAIN * (turn + 1)]
        for layout, seconds in ((torch.contiguous_format, default), (torch.channels_last, channels_last)):
            plain = beside.submit(evaluation.plain, some, layout, recalibrated).result()
            seconds.append(plain.seconds / len(some))
        mine = engine.logits[PLAIN * turn : PLAIN * (turn + 1)]
        apart = max([apart, *(float((a - b).abs().max()) for a, b in zip(mine, plain.logits, strict=True))])
        same = same and plain.top1(labels) == engine.top1(labels)[PLAIN * turn : PLAIN * (turn + 1)]
    return Row(
        name,
        recalibrated,
        1 / statistics.mean(default),
        1 / statistics.mean(channels_last),
        len(asked) / engine.seconds,
        None if lower is None else len(asked) / lower.seconds,
        same,
        apart,
    )


def tell_evaluation(work: Work, space: SearchSpace) -> None:
    """The table of evaluations a second, and where their time goes."""
    generations = populations(space, GENERATION, SEED)
    evaluation.begin(work, engine=True)
    with ProcessPoolExecutor(1, get_context("spawn"), evaluation.begin, (work, False)) as beside:
        rows = [
            compare(name, generations[name], recalibrated, lower, work.labels, beside)
            for name, recalibrated, lower in KINDS
        ]
        plain_peak = beside.submit(peak_mib).result()
    print(f"Evaluations a second of a generation of {GENERATION}, one thread, processor time. `plain` is a loop over")
    print(
        "architectures in torch's default layout, `channels-last` the same in that layout; `raynas` is what a supernet"
    )
    print(
        "actor does. `x`: ratios to `plain`, the second to `channels-last`. `apart`: the most that any logit differs.\n"
    )
    first = ["population", "recalibrated", "plain", "channels-last", "raynas", "x", "x channels-last"]
    table([*first, "bfloat16", "x", "same top-1", "apart"], [row.cells() for row in rows])
    for name, generation in generations.items():
        computed, asked = nodes(space, generation)
        print(f"- {name}: {computed:,} blocks computed of {asked:,}")
    found = evaluation.inside([one.indices for one in generations["converged"][: GENERATION // 2]])
    rest = 100 * (1 - found.arithmetic / found.whole)
    print(f"- share of an evaluation that is not the networks' arithmetic: {rest:.1f} %")
    print(
        f"- the machine's own convolution rate on the same shapes: {found.macs / found.convolutions / 1e9:.1f} G "
        f"multiply-adds/s; evaluation with recalibration runs at {found.macs / found.whole / 1e9:.1f} G, "
        f"{100 * found.convolutions / found.whole:.0f} % of it; the rest is batch norm, activations and additions"
    )
    print(f"- peak memory of the process: {found.peak_mib:,.0f} MiB, of the plain loop's {plain_peak:,.0f} MiB\n")


def tell_search(folder: Path) -> None:
    """A search in full, and in bfloat16 with a race; then by one and by two supernet actors. On the demo's supernet."""
    shrunk = dict(Recipe.read("pad-nas-digits").space)
    space = search_spaces.load(shrunk.pop("name"), **shrunk, num_classes=10)
    images = open_images(prepare(DataSettings(validation=0.4), space.resolution, SEED))
    inputs, labels = batch(images, images.rows("train"))
    supernet = trained(space, inputs, labels, DEMO_STEPS, 32, SEED)
    setting = searching.Setting(folder, space, images.prepared, population=32, generations=6, seed=SEED)
    setting.write(supernet)
    exact = EvaluationSettings(batch_size=64, recalibration_images=256, recalibration_batch_size=64)
    raced = exact.changed(precision="bfloat16", racing=RacingSettings())
    judge = setting.local(exact)
    torch.set_num_threads(1)
    found = {
        name: searching.search(setting, settings, setting.local(settings))
        for name, settings in (("float32", exact), ("bfloat16 with racing", raced))
    }
    work = work_of(space, supernet, images, exact)
    with ProcessPoolExecutor(1, get_context("spawn"), evaluation.begin, (work, False)) as beside:
        some = [space.parse(text).indices for text in found["float32"].table["architecture"][::32]]
        plain = beside.submit(evaluation.plain, some, torch.contiguous_format, True).result().seconds / len(some)
    areas = {name: searching.front_area(setting, one, judge) for name, one in found.items()}
    rows = []
    for name, one in found.items():
        seconds = one.processor_seconds / len(one.table)
        images_share = f"{100 * one.images():.0f} %"
        rows.append([name, f"{1 / seconds:.2f}", f"{plain / seconds:.1f}x", images_share, f"{areas[name]:.2f}"])
    print(
        f"A search of {setting.generations} generations of {setting.population} by NSGA-II on the demo's supernet, and"
    )
    print("the plain loop in the default layout on it. Both fronts are measured once more in float32 on all images.\n")
    table(["", "evaluations a second", "x plain", "images", "hypervolume"], rows)
    by = {}
    with ray_session.connect():
        for actors in (1, 2):
            by[actors] = searching.by_actors(setting, exact, actors, generations=4)
    busy = {n: 100 * float(one.table["seconds"].sum()) / (n * one.seconds) for n, one in by.items()}
    print(
        "Supernet actors of one thread, four generations, by the clock: evaluations a second, and the share of the time"
    )
    print("from the first question to the last answer in which an actor evaluates.\n")
    table(
        ["actors", "a second", "x one actor", "busy"],
        [
            [n, f"{len(one.table) / one.seconds:.2f}", f"{by[1].seconds / one.seconds:.2f}x", f"{busy[n]:.1f} %"]
            for n, one in by.items()
        ],
    )


def tell_training() -> None:
    """The training step, of one worker and of two."""
    steps = [training.one_worker(setting, turns=2) for setting in training.settings()]
    print("A training step, one thread: milliseconds, medians over architectures. `plain`, `channels-last`: the same")
    print(
        "network in a plain loop; `rest` is what is not the network's passes; `batch` draws and augments the images.\n"
    )
    table(
        ["space", "plain", "channels-last", "raynas", "x plain", "to channels-last", "rest", "batch", "peak MiB"],
        [
            [
                one.name,
                f"{one.default_layout:.1f}",
                f"{one.channels_last:.1f}",
                f"{one.engine:.1f}",
                f"{one.faster:.2f}x",
                f"{one.slower:.3f}",
                f"{100 * one.rest:.1f} %",
                f"{one.batch:.1f}",
                f"{one.peak_bytes / 2**20:,.0f}",
            ]
            for one in steps
        ],
    )
    shared = [training.two_workers(setting, turns=2) for setting in training.settings()[:1]]
    print("Two workers: the same beside DistributedDataParallel with `find_unused_parameters`, and bytes reduced.\n")
    table(
        ["space", "raynas ms", "DDP ms", "to DDP", "raynas bytes", "the path's", "DDP bytes", "the supernet's"],
        [
            [
                one.name,
                f"{one.engine:.1f}",
                f"{one.ddp:.1f}",
                f"{one.slower:.2f}",
                *(f"{count:,}" for count in (one.engine_bytes, one.path_bytes, one.ddp_bytes, one.supernet_bytes)),
            ]
            for one in shared
        ],
    )


def read(space: SearchSpace) -> Images:
    settings = DataSettings(name="npz", path=CIFAR10, validation=VALIDATION) if CIFAR10.exists() else DataSettings()
    return open_images(prepare(settings, space.resolution, SEED))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--peer", dest="peers", action="append", default=[], choices=get_args(peers.Peer))
    given = parser.parse_args(arguments)
    space = search_spaces.load("proxylessnas", resolution=32, stem_stride=1, num_classes=10)
    images = read(space)
    inputs, labels = batch(images, images.rows("train"))
    prepare_process(os.cpu_count() or 1, deterministic=False)
    supernet = trained(space, inputs, labels, STEPS, BATCH // 2, SEED)
    work = work_of(space, supernet, images, EVALUATION)
    heading("Speed", str(SEED))
    tell_evaluation(work, space)
    with tempfile.TemporaryDirectory() as folder:
        tell_search(Path(folder))
    tell_training()
    for peer in given.peers:
        recalibration = work.recalibration_batches(torch.contiguous_format)
        peers.tell(peers.measure(peer, work.images, work.labels, recalibration, BATCH, PEER_NETWORKS, SEED))


def work_of(space: SearchSpace, supernet: Supernet, images: Images, settings: EvaluationSettings) -> Work:
    measured, labels = batch(images, images.rows("validation"))
    recalibration, _ = batch(images, images.recalibration(settings.recalibration_images))
    weights = {key: value.clone() for key, value in supernet.state_dict().items()}
    return Work(space.specification(), weights, measured, labels, recalibration, settings.batch_size)


if __name__ == "__main__":
    main()
