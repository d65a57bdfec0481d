"""How fast are evaluation, search and training beside plain loops, and beside the machine's own convolutions?

    python -m benchmarks.speed [--peer nni] [--peer ofa]

The images are those of CIFAR-10 in `../shared`, or the digits if it does not exist. All measurements run side by side,
in under ten minutes on two cores; their ratios count.

Prints tables of evaluation, of searches, and of training steps.
"""

from __future__ import annotations

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
from benchmarks.common.arguments import command_parser
from benchmarks.common.report import print_heading, print_table
from benchmarks.common.shared_data import CIFAR10
from benchmarks.speed import evaluation, peers, training
from benchmarks.speed import search as timed_searches
from benchmarks.speed.evaluation import Work, count_blocks, peak_mib, populations, train_supernet
from raynas.cluster import ray_session
from raynas.data import DataSettings, Images, batch, open_images, prepare
from raynas.recipe.recipe import Recipe
from raynas.recipe.settings import EvaluationSettings, RacingSettings
from raynas.runtime.process import prepare_process
from search_spaces import Architecture, SearchSpace
from search_spaces.supernet import Supernet

SEED = 0
GENERATION = 64
PLAIN = 2
"""Architectures in each turn of the plain loop; all architectures take about the same time."""
TURNS = 2
BATCH = 128
EVALUATION = EvaluationSettings(batch_size=BATCH, recalibration_images=512, recalibration_batch_size=BATCH)
VALIDATION = 50
"""Validation images of each class."""
STEPS, DEMO_STEPS = 60, 300
PEER_NETWORKS = 4
KINDS = (("random", True, False), ("converged", True, True), ("converged", False, False))
"""Population, whether batch norm is recalibrated, and whether bfloat16 is measured, too."""


@dataclass(frozen=True)
class SpeedRow:
    """Evaluations a second of one population.

    Attributes:
        default, channels_last: rate of the plain loop in both layouts.
        engine, lower: rate of an evaluator in float32 and in bfloat16.
        same_top1: whether both have the same top-1 for every architecture of the plain loop.
        difference: the greatest difference of a logit.
    """

    population: str
    recalibrated: bool
    default: float
    channels_last: float
    engine: float
    lower: float | None
    same_top1: bool
    difference: float

    def cells(self) -> list[str]:
        """Return the cells of the table."""
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
            f"{self.difference:.1e}",
        ]


def compare(
    name: str,
    generation: Sequence[Architecture],
    recalibrated: bool,
    in_bfloat16: bool,
    labels: Tensor,
    plain_process: ProcessPoolExecutor,
) -> SpeedRow:
    """Compare the plain loop in its own process, in both layouts, with an evaluator in this process, in turns."""
    architectures = [architecture.indices for architecture in generation]
    default: list[float] = []
    channels_last: list[float] = []
    difference, same_top1 = 0.0, True
    engine = evaluation.evaluate_together(architectures, recalibrated, "float32")
    lower = evaluation.evaluate_together(architectures, recalibrated, "bfloat16") if in_bfloat16 else None
    for turn in range(TURNS):
        part = slice(PLAIN * turn, PLAIN * (turn + 1))
        some = architectures[part]
        for layout, seconds in ((torch.contiguous_format, default), (torch.channels_last, channels_last)):
            plain = plain_process.submit(evaluation.evaluate_plainly, some, layout, recalibrated).result()
            seconds.append(plain.seconds / len(some))
        pairs = zip(engine.logits[part], plain.logits, strict=True)
        difference = max([difference, *(float((own - other).abs().max()) for own, other in pairs)])
        same_top1 = same_top1 and plain.top1(labels) == engine.top1(labels)[part]
    return SpeedRow(
        name,
        recalibrated,
        1 / statistics.mean(default),
        1 / statistics.mean(channels_last),
        len(architectures) / engine.seconds,
        None if lower is None else len(architectures) / lower.seconds,
        same_top1,
        difference,
    )


def print_evaluation(work: Work, space: SearchSpace) -> None:
    """Measure and print evaluations a second, and the parts of their time."""
    generations = populations(space, GENERATION, SEED)
    evaluation.load_work(work, as_evaluator=True)
    with ProcessPoolExecutor(1, get_context("spawn"), evaluation.load_work, (work, False)) as plain_process:
        rows = [
            compare(name, generations[name], recalibrated, in_bfloat16, work.labels, plain_process)
            for name, recalibrated, in_bfloat16 in KINDS
        ]
        plain_peak = plain_process.submit(peak_mib).result()
    print(f"Evaluations a second of a generation of {GENERATION}, one thread, processor time.\n")
    print("- `plain`: a loop over architectures in torch's default layout; `channels-last`: in that layout")
    print("- `raynas`: an evaluator")
    print("- `x`: ratio to `plain`; `x channels-last`: ratio to `channels-last`")
    print("- `difference`: greatest difference of a logit\n")
    columns = ["population", "recalibrated", "plain", "channels-last", "raynas", "x", "x channels-last"]
    print_table([*columns, "bfloat16", "x", "same top-1", "difference"], [row.cells() for row in rows])
    for name, generation in generations.items():
        computed, unshared = count_blocks(space, generation)
        print(f"- {name}: {computed:,} blocks computed of {unshared:,}")
    half = generations["converged"][: GENERATION // 2]
    parts = evaluation.break_down([architecture.indices for architecture in half])
    rest = 100 * (1 - parts.arithmetic / parts.whole)
    print(f"- share of an evaluation outside the networks' arithmetic: {rest:.1f} %")
    print(
        f"- the machine's own convolution rate on the same shapes: {parts.macs / parts.convolutions / 1e9:.1f} G "
        f"multiply-adds/s\n- rate of evaluation with recalibration: {parts.macs / parts.whole / 1e9:.1f} G, "
        f"{100 * parts.convolutions / parts.whole:.0f} %; the rest is batch norm, activations and additions"
    )
    print(f"- peak memory of the evaluator: {parts.peak_mib:,.0f} MiB, of the plain loop: {plain_peak:,.0f} MiB\n")


def print_search(folder: Path) -> None:
    """Measure and print searches on the demo's supernet: in float32, in bfloat16 with a race, and on Ray."""
    demo = dict(Recipe.read("pad-nas-digits").space)
    space = search_spaces.load(demo.pop("name"), **demo, num_classes=10)
    images = open_images(prepare(DataSettings(validation=0.4), space.resolution, SEED))
    inputs, labels = batch(images, images.rows("train"))
    supernet = train_supernet(space, inputs, labels, DEMO_STEPS, 32, SEED)
    setting = timed_searches.SearchSetting(folder, space, images.prepared, population=32, generations=6, seed=SEED)
    setting.write(supernet)
    exact = EvaluationSettings(batch_size=64, recalibration_images=256, recalibration_batch_size=64)
    raced = exact.changed(precision="bfloat16", racing=RacingSettings())
    exact_pool = setting.local_pool(exact)
    torch.set_num_threads(1)
    searches = {
        name: timed_searches.search(setting, settings, setting.local_pool(settings))
        for name, settings in (("float32", exact), ("bfloat16 with racing", raced))
    }
    work = prepare_work(space, supernet, images, exact)
    with ProcessPoolExecutor(1, get_context("spawn"), evaluation.load_work, (work, False)) as plain_process:
        some = [space.parse(text).indices for text in searches["float32"].table["architecture"][::32]]
        turn = plain_process.submit(evaluation.evaluate_plainly, some, torch.contiguous_format, True).result()
        plain = turn.seconds / len(some)
    rows = []
    for name, search in searches.items():
        seconds = search.processor_seconds / len(search.table)
        hypervolume = timed_searches.front_hypervolume(setting, search, exact_pool)
        image_share = f"{100 * search.image_share():.0f} %"
        rows.append([name, f"{1 / seconds:.2f}", f"{plain / seconds:.1f}x", image_share, f"{hypervolume:.2f}"])
    print(f"A search of {setting.generations} generations of {setting.population} by NSGA-II on the demo's supernet.\n")
    print("- `x plain`: ratio to the plain loop in the default layout")
    print("- `images`: mean share of the images on which an architecture is measured")
    print("- `hypervolume`: of the front, measured again in float32 on all images\n")
    print_table(["", "evaluations a second", "x plain", "images", "hypervolume"], rows)
    on_ray = {}
    with ray_session.connect():
        for actors in (1, 2):
            on_ray[actors] = timed_searches.search_on_ray(setting, exact, actors, generations=4)
    rows = []
    for actors, search in on_ray.items():
        rate, ratio = len(search.table) / search.seconds, on_ray[1].seconds / search.seconds
        busy = 100 * float(search.table["seconds"].sum()) / (actors * search.seconds)
        rows.append([str(actors), f"{rate:.2f}", f"{ratio:.2f}x", f"{busy:.1f} %"])
    print("Evaluators of one thread on Ray, four generations, by the clock. `busy`: share of the time from the first")
    print("request to the last evaluation in which an evaluator computes.\n")
    print_table(["evaluators", "evaluations a second", "x one evaluator", "busy"], rows)


def print_training() -> None:
    """Measure and print the training step of one worker and of two."""
    steps = [training.one_worker(setting, turns=2) for setting in training.settings()]
    print("A training step, one thread: milliseconds, medians over architectures.\n")
    print("- `plain`, `channels-last`: the same network in a plain loop, in both layouts")
    print("- `to channels-last`: ratio of raynas's time to that in channels-last")
    print("- `rest`: share of raynas's time outside the network's passes")
    print("- `batch`: drawing and augmenting the images\n")
    print_table(
        ["space", "plain", "channels-last", "raynas", "x plain", "to channels-last", "rest", "batch", "peak MiB"],
        [
            [
                row.name,
                f"{row.default_layout:.1f}",
                f"{row.channels_last:.1f}",
                f"{row.engine:.1f}",
                f"{row.faster:.2f}x",
                f"{row.slower:.3f}",
                f"{100 * row.rest:.1f} %",
                f"{row.batch:.1f}",
                f"{row.peak_bytes / 2**20:,.0f}",
            ]
            for row in steps
        ],
    )
    of_two_workers = [training.two_workers(setting, turns=2) for setting in training.settings()[:1]]
    print("Two workers, beside DistributedDataParallel with `find_unused_parameters`: ms and reduced bytes.\n")
    print_table(
        ["space", "raynas ms", "DDP ms", "to DDP", "raynas bytes", "the path's", "DDP bytes", "the supernet's"],
        [
            [
                row.name,
                f"{row.engine:.1f}",
                f"{row.ddp:.1f}",
                f"{row.slower:.2f}",
                *(f"{count:,}" for count in (row.engine_bytes, row.path_bytes, row.ddp_bytes, row.supernet_bytes)),
            ]
            for row in of_two_workers
        ],
    )


def read_images(space: SearchSpace) -> Images:
    """Open CIFAR-10, or the digits if its file does not exist."""
    settings = DataSettings(name="npz", path=CIFAR10, validation=VALIDATION) if CIFAR10.exists() else DataSettings()
    return open_images(prepare(settings, space.resolution, SEED))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_parser("speed", __doc__)
    names = get_args(peers.Peer)
    parser.add_argument("--peer", dest="peers", action="append", default=[], choices=names, help="also this library")
    options = parser.parse_args(arguments)
    space = search_spaces.load("proxylessnas", resolution=32, stem_stride=1, num_classes=10)
    images = read_images(space)
    inputs, labels = batch(images, images.rows("train"))
    prepare_process(os.cpu_count() or 1, deterministic=False)
    supernet = train_supernet(space, inputs, labels, STEPS, BATCH // 2, SEED)
    work = prepare_work(space, supernet, images, EVALUATION)
    print_heading("Speed", str(SEED))
    print_evaluation(work, space)
    with tempfile.TemporaryDirectory() as folder:
        print_search(Path(folder))
    print_training()
    for peer in options.peers:
        recalibration = work.recalibration_batches(torch.contiguous_format)
        rows = peers.measure(peer, work.images, work.labels, recalibration, BATCH, PEER_NETWORKS, SEED)
        peers.print_rows(rows)


def prepare_work(space: SearchSpace, supernet: Supernet, images: Images, settings: EvaluationSettings) -> Work:
    """Return the work of both processes."""
    measured, labels = batch(images, images.rows("validation"))
    recalibration, _ = batch(images, images.recalibration_rows(settings.recalibration_images))
    weights = {key: value.clone() for key, value in supernet.state_dict().items()}
    return Work(space.specification(), weights, measured, labels, recalibration, settings.batch_size)


if __name__ == "__main__":
    main()
