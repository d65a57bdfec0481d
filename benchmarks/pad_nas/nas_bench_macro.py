"""PAD-NAS and its baselines with real supernets of NAS-Bench-Macro on CIFAR-10, where every network's truth is known.

    python -m benchmarks.pad_nas.nas_bench_macro [--seeds 3] [--images 2000] [--epochs 12] [--out runs/nas-bench-macro]

Every run is a run folder of its own under `--out`: the command goes on with what is not finished, and prints. With
`--finished` it prints the seeds that are finished and starts nothing. SPOS trains the very supernet that I-Supernet
trains (the same step, seed and settings), so its search is a further step of I-Supernet's run.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import raynas
from benchmarks.pad_nas.nas_bench_macro_oracle import Truth
from benchmarks.pad_nas.nas_bench_macro_report import FIXED_SET, SPOS, Seed, is_finished, read_seed, report
from raynas.cluster import ray_session
from raynas.recipe.recipe import Recipe
from raynas.storage.progress import Live
from raynas.storage.run_folder import RunFolder
from raynas.storage.weights import Weights
from raynas.study.run import open_study
from raynas.study.run_plan import plan
from search_spaces import Architecture, SearchSpace, from_specification
from tuners.search_algorithms.evolution import SposEvolution

CIFAR10 = Path(__file__).parents[3] / "shared" / "data" / "cifar10_subset12k.npz"
METHODS = ("i-supernet", "p-supernet", "pad-nas")
CLASSES = 10
AVAILABLE = 1000
"""Training images a class in the file."""
VALIDATION = 30
"""Validation images a class."""
FIXED = 50
"""Architectures in the fixed random set."""
BATCH = 32
LEARNING_RATE, FINE_TUNING_RATE = 0.016, 0.008
"""The first is the paper's 0.5 for batches of 1,024, scaled to this batch."""
POPULATION, GENERATIONS = 16, 5


@dataclass(frozen=True)
class Plans:
    """What is run: everything that decides the results, apart from the seed and the method.

    Attributes:
        images: training images.
        epochs: of supernet training in all, the same for every method.
        changes: `PATH=VALUE` each, applied to every recipe.
    """

    out: Path
    budget: float
    images: int
    epochs: int
    changes: tuple[str, ...] = ()

    def folder(self, method: str, seed: int) -> Path:
        return self.out / f"seed-{seed}" / method

    def recipe(self, method: str, seed: int) -> Recipe:
        half, third = self.epochs // 2, self.epochs // 3
        stages = {
            "i-supernet": [self.epochs],
            "p-supernet": [half, self.epochs - half],
            "pad-nas": [half, third, self.epochs - half - third],
        }[method]
        settings: dict[str, Any] = {
            "method": {
                "name": method,
                "epochs": stages,
                "learning_rates": [LEARNING_RATE] + [FINE_TUNING_RATE] * (len(stages) - 1),
                "below_rank": 5,
                "prune_below": 0.05,
            },
            "space": {"name": "nas-bench-macro"},
            "data": {
                "name": "npz",
                "path": str(CIFAR10),
                "fraction": (self.images / CLASSES + VALIDATION) / AVAILABLE,
                "validation": VALIDATION,
                "augment": "crop-flip",
            },
            "budget": {"macs": {"max": self.budget}},
            "training": {"batch_size": BATCH, "validation_paths": 3},
            "search": {"population": POPULATION, "generations": GENERATIONS},
            "evaluation": {"recalibration_images": 100, "recalibration_batch_size": 100},
            "scale": {"train": {"workers": 2}, "evaluate": {"actors": 2}},
            "seed": seed,
        }
        return Recipe.read(settings, self.changes)


def run_seed(plans: Plans, seed: int) -> None:
    """Run every method with this seed, and measure what they found on the architectures that they are compared on."""
    for method in METHODS:
        raynas.run(plans.recipe(method, seed), plans.folder(method, seed), reporter=Live())
    smallest = from_specification(raynas.load(plans.folder("pad-nas", seed)).space)
    compared = fixed_set(smallest, seed)
    for method in METHODS:
        _measure(plans, method, seed, compared)


def fixed_set(space: SearchSpace, seed: int) -> list[Architecture]:
    """The same architectures for every method: up to `FIXED` distinct ones, drawn from the space pruned last."""
    everything = list(itertools.product(*space.surviving))
    drawn = np.random.default_rng([seed, FIXED]).permutation(len(everything))[:FIXED]
    return [space.architecture(everything[number]) for number in sorted(drawn)]


def _measure(plans: Plans, method: str, seed: int, compared: Sequence[Architecture]) -> None:
    recipe, folder = plans.recipe(method, seed), RunFolder(plans.folder(method, seed))
    outcome = raynas.load(folder.uri)
    assert outcome.weights is not None
    weights = Weights(file=outcome.weights, version=outcome.table["weights_version"].iloc[-1], history=[])
    with open_study(plan(recipe), folder, Live()) as study:
        if method == "i-supernet":
            study.search(SPOS, study.space, weights, SposEvolution.model_validate(recipe.search))
        study.evaluate(FIXED_SET, from_specification(outcome.space), compared, weights)


def finished(plans: Plans, seeds: Iterable[int]) -> dict[int, Seed]:
    """What came of the seeds of which every run is finished."""
    folders = {seed: {method: plans.folder(method, seed) for method in METHODS} for seed in seeds}
    return {seed: read_seed(of_seed) for seed, of_seed in folders.items() if is_finished(of_seed)}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pad_nas.nas_bench_macro", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0")
    parser.add_argument("--images", type=int, default=2000, help="training images, the same number of each class")
    parser.add_argument("--epochs", type=int, default=12, help="of supernet training in all, at least 6")
    parser.add_argument("--out", type=Path, default=Path("runs/nas-bench-macro"))
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="PATH=VALUE")
    parser.add_argument("--finished", action="store_true", help="print what is finished and start nothing")
    given = parser.parse_args(arguments)
    if given.epochs < 6:
        parser.error("--epochs is at least 6: PAD-NAS divides them into a half, a third and a sixth")
    truth = Truth.read()
    plans = Plans(given.out, truth.median, given.images, given.epochs, tuple(given.changes))
    if not given.finished:
        with ray_session.connect():
            for seed in range(given.seeds):
                run_seed(plans, seed)
    report(truth, plans.recipe("pad-nas", 0), finished(plans, range(given.seeds)), given.out)


if __name__ == "__main__":
    main()
