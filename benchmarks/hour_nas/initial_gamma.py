"""What does the start of residual branches do to supernets: how accurate are they, and how well do they rank?

    python -m benchmarks.hour_nas.initial_gamma [--seeds 3] [--epochs 12] [--out runs/initial-gamma]

The last batch norm of each residual branch begins with a scale of 0, as in raynas, or of 1, like any other batch norm.
The supernets are those of `pad_nas.nas_bench_macro`: NAS-Bench-Macro, single paths, 2,000 images of CIFAR-10. They have
equal images, equal paths and equal training settings. Two random sets of architectures are measured: of the whole
space, and of those that cost 6/7 to all of the median's multiply-adds.

The control ranks by multiply-adds alone.

Prints one table: one-shot accuracy in per cent, and Kendall's tau between one-shot and true accuracy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau

from benchmarks.common.arguments import add_run_options, add_seed_count, command_parser, parse_run_options
from benchmarks.common.report import print_heading, print_table, spread
from benchmarks.pad_nas.nas_bench_macro import LEARNING_RATE, Experiment
from benchmarks.pad_nas.nas_bench_macro_oracle import Truth
from raynas.cluster import ray_session
from raynas.interfaces.objective import UniformPath
from raynas.reporting.terminal import Live
from raynas.storage.run_folder import RunFolder
from raynas.study.run import open_study
from raynas.study.run_plan import plan
from search_spaces import Architecture

GAMMAS = (0.0, 1.0)
DRAWN = 60
"""Architectures of each random set."""


@dataclass(frozen=True)
class RandomSet:
    """Random architectures with their true accuracies in per cent and their multiply-adds."""

    architectures: list[Architecture]
    true_top1: list[float]
    macs: list[float]


def draw_sets(truth: Truth) -> dict[str, RandomSet]:
    """Draw the two sets. All supernets share them."""
    whole = truth.oracle.evaluate(truth.oracle.architectures())
    drawn = {}
    for name, evaluations in (("whole space", whole), ("window", truth.feasible)):
        chosen = np.random.default_rng(DRAWN).permutation(len(evaluations))[:DRAWN]
        kept = [evaluations[number] for number in sorted(chosen)]
        drawn[name] = RandomSet(
            [each.architecture for each in kept],
            [each.top1 for each in kept],
            [each.costs["macs"] for each in kept],
        )
    return drawn


def measure(experiment: Experiment, gamma: float, seed: int, sets: Mapping[str, RandomSet]) -> dict[str, list[float]]:
    """Train a supernet. Returns the one-shot accuracies of each set in per cent."""
    recipe = experiment.recipe("i-supernet", seed)
    folder = RunFolder(experiment.out / f"gamma-{gamma:g}-seed-{seed}")
    settings = recipe.training.changed(
        initial_gamma=gamma, epochs=experiment.epochs, learning_rate=LEARNING_RATE, validation_paths=0
    )
    with open_study(plan(recipe), folder, Live()) as study:
        weights = study.train("supernet", study.space, UniformPath(), settings)
        measured = {}
        for name, drawn in sets.items():
            result = study.evaluate(name.replace(" ", "-"), study.space, drawn.architectures, weights)
            one_shot = dict(zip(result.table["architecture"], result.table["top1"], strict=True))
            measured[name] = [float(one_shot[str(architecture)]) for architecture in drawn.architectures]
    return measured


def rows(
    sets: Mapping[str, RandomSet], measured: Mapping[float, Sequence[Mapping[str, Sequence[float]]]]
) -> Iterator[list[str]]:
    """Yield a row for each initial scale, and the row of the control.

    Args:
        measured: by initial scale, for each seed the one-shot accuracies of each set.
    """
    for gamma, seeds in measured.items():
        row = [f"begins at {gamma:g}"]
        for name, drawn in sets.items():
            row.append(spread([float(np.mean(tops[name])) for tops in seeds], 1))
            row.append(spread([kendalltau(tops[name], drawn.true_top1).statistic for tops in seeds], 2))
        yield row
    taus = [f"{kendalltau(drawn.macs, drawn.true_top1).statistic:.2f}" for drawn in sets.values()]
    yield ["multiply-adds alone", *(cell for tau in taus for cell in ("", tau))]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_parser("hour_nas.initial_gamma", __doc__)
    add_seed_count(parser, 3)
    parser.add_argument("--images", type=int, default=2000, help="training images of all classes (default: 2000)")
    parser.add_argument("--epochs", type=int, default=12, help="epochs of a supernet (default: 12)")
    add_run_options(parser, "runs/initial-gamma")
    options = parse_run_options(parser, arguments)
    truth = Truth.read()
    sets = draw_sets(truth)
    out: Path = options.out
    experiment = Experiment(out, truth.budget, options.images, options.epochs, tuple(options.changes))
    with ray_session.connect():
        measured = {
            gamma: [measure(experiment, gamma, seed, sets) for seed in range(options.seeds)] for gamma in GAMMAS
        }
    print_heading("Supernets and the start of residual branches", f"0 to {options.seeds - 1}")
    print(f"{options.images:,} images, {options.epochs} epochs; two sets of {DRAWN} architectures.")
    print("Figures: mean ± population standard deviation over seeds.\n")
    columns = [column for name in sets for column in (f"one-shot top-1, {name}", f"tau, {name}")]
    print_table(["residual branches", *columns], rows(sets, measured))


if __name__ == "__main__":
    main()
