"""How well do real supernets rank architectures, and what does PAD-NAS gain (tables 6 to 9 and figure 5)?

    python -m benchmarks.pad_nas.nas_bench_macro [--seeds 3] [--epochs 12] [--max-alone] [--out runs/nas-bench-macro]

PAD-NAS and its baselines search NAS-Bench-Macro on CIFAR-10, where every network's true accuracy is known. Every search
has its own run folder under `--out`. SPOS and I-Supernet train the same supernet (the same step, seed and settings), so
SPOS's search is another step of I-Supernet's run.

Prints the tables of all finished seeds. With `--finished` it starts no run.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import raynas
from benchmarks.common.arguments import add_run_options, add_seed_count, command_parser, parse_run_options
from benchmarks.common.shared_data import CIFAR10
from benchmarks.pad_nas.nas_bench_macro_oracle import Truth
from benchmarks.pad_nas.nas_bench_macro_report import FIXED_SET, SPOS, Seed, is_finished, print_report, read_seed
from raynas.cluster import ray_session
from raynas.recipe.recipe import Recipe
from raynas.reporting.terminal import Live
from raynas.storage.run_folder import RunFolder
from raynas.storage.weights import Weights
from raynas.study.run import open_study
from raynas.study.run_plan import plan
from search_spaces import Architecture, Budget, SearchSpace, from_specification
from tuners.search_algorithms.evolution import SposEvolution

METHODS = ("i-supernet", "p-supernet", "pad-nas")
CLASSES = 10
AVAILABLE = 1000
"""Training images of each class in the file."""
VALIDATION = 30
"""Validation images of each class."""
FIXED = 50
"""Architectures in the fixed random set."""
BATCH = 32
LEARNING_RATE, FINE_TUNING_RATE = 0.016, 0.008
"""The first rate is the paper's 0.5 for batches of 1,024, scaled to this batch."""
POPULATION, GENERATIONS = 16, 5


@dataclass(frozen=True)
class Experiment:
    """Everything that decides the results, except the seed and the method.

    Attributes:
        budget: of multiply-adds.
        images: the number of training images.
        epochs: all epochs of supernet training, the same for every method.
        changes: changes of every recipe, each `PATH=VALUE`.
    """

    out: Path
    budget: Budget
    images: int
    epochs: int
    changes: tuple[str, ...] = ()

    def folder(self, method: str, seed: int) -> Path:
        """Return the run folder of a method."""
        return self.out / f"seed-{seed}" / method

    def recipe(self, method: str, seed: int) -> Recipe:
        """Return the recipe of a method."""
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
            "budget": self.budget.model_dump(exclude_none=True),
            "training": {"batch_size": BATCH, "validation_paths": 3},
            "search": {"population": POPULATION, "generations": GENERATIONS},
            "evaluation": {"recalibration_images": 100, "recalibration_batch_size": 100},
            "scale": {"train": {"workers": 2}, "evaluate": {"actors": 2}},
            "seed": seed,
        }
        return Recipe.read(settings, self.changes)


def run_seed(experiment: Experiment, seed: int) -> None:
    """Run every method with this seed, and measure one fixed set of architectures with all supernets."""
    for method in METHODS:
        raynas.run(experiment.recipe(method, seed), experiment.folder(method, seed), reporter=Live())
    smallest = from_specification(raynas.load(experiment.folder("pad-nas", seed)).space)
    architectures = draw_fixed_set(smallest, seed)
    for method in METHODS:
        _measure(experiment, method, seed, architectures)


def draw_fixed_set(space: SearchSpace, seed: int) -> list[Architecture]:
    """Draw up to `FIXED` distinct architectures from the last pruned space. All methods of a seed share them."""
    combinations = list(itertools.product(*space.surviving))
    drawn = np.random.default_rng([seed, FIXED]).permutation(len(combinations))[:FIXED]
    return [space.architecture(combinations[number]) for number in sorted(drawn)]


def _measure(experiment: Experiment, method: str, seed: int, architectures: Sequence[Architecture]) -> None:
    recipe, folder = experiment.recipe(method, seed), RunFolder(experiment.folder(method, seed))
    outcome = raynas.load(folder.uri)
    assert outcome.weights is not None
    weights = Weights(file=outcome.weights, version=outcome.table["weights_version"].iloc[-1], history=[])
    with open_study(plan(recipe), folder, Live()) as study:
        if method == "i-supernet":
            study.search(SPOS, study.space, weights, SposEvolution.model_validate(recipe.search))
        study.evaluate(FIXED_SET, from_specification(outcome.space), architectures, weights)


def read_finished(experiment: Experiment, seeds: Iterable[int]) -> dict[int, Seed]:
    """Read the results of the seeds whose runs are all finished."""
    folders = {seed: {method: experiment.folder(method, seed) for method in METHODS} for seed in seeds}
    return {seed: read_seed(of_seed) for seed, of_seed in folders.items() if is_finished(of_seed)}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_parser("pad_nas.nas_bench_macro", __doc__)
    add_seed_count(parser, 3)
    parser.add_argument("--images", type=int, default=2000, help="training images of all classes (default: 2000)")
    parser.add_argument("--epochs", type=int, default=12, help="epochs of supernet training, at least 6 (default: 12)")
    add_run_options(parser, "runs/nas-bench-macro")
    parser.add_argument("--max-alone", action="store_true", help="leave out the lower limit of the budget")
    parser.add_argument("--finished", action="store_true", help="only print the finished seeds")
    options = parse_run_options(parser, arguments)
    if options.epochs < 6:
        parser.error(
            f"--epochs is {options.epochs}; it must be at least 6, because PAD-NAS divides the epochs into a half, a "
            "third and a sixth. Raise it."
        )
    truth = Truth.read("max alone" if options.max_alone else "window")
    experiment = Experiment(options.out, truth.budget, options.images, options.epochs, tuple(options.changes))
    if not options.finished:
        with ray_session.connect():
            for seed in range(options.seeds):
                run_seed(experiment, seed)
    seeds = read_finished(experiment, range(options.seeds))
    print_report(truth, experiment.recipe("pad-nas", 0), seeds, options.out)


if __name__ == "__main__":
    main()
