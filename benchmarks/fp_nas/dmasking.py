"""Does FP-NAS find better networks than DMaskingNAS, and at what cost (FP-NAS table 6)? On the digits.

    python -m benchmarks.fp_nas.dmasking [--recipes dmasking-digits] [--seeds 0 1] [--set PATH=VALUE] [--out FOLDER]

Both methods search the space, the images and the budget of `fp-nas-digits` for the same number of epochs. Each has the
learning settings of its own small recipe; DMaskingNAS has FBNet's cost term unless `--set` changes it. Their networks
are trained stand-alone with the same `fit` settings. Two controls search nothing: random architectures within the
budget, and the costliest of 2,000 drawn within the budget.

Everything runs in this process on one thread (`benchmarks.speed.in_process`). Times are seconds of the processor, so
that other work on the machine changes them little.

Prints two tables: one row for each method and control, and the memory of both methods.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch.nn import functional

from benchmarks.common.arguments import add_run_options, add_seeds, command_parser
from benchmarks.common.report import print_heading, print_table, spread
from benchmarks.common.step_timing import RATE, Engine
from benchmarks.fp_nas.memory import peak_kept_bytes
from benchmarks.speed.in_process import InProcessStudy, run_in_process
from raynas.interfaces.objective import TrainingStep
from raynas.recipe.recipe import Recipe
from raynas.results.outcome import load
from raynas.storage.run_folder import RunFolder
from raynas.study.method import method_of_recipe
from raynas.study.run import open_study
from raynas.study.run_plan import Plan, plan
from raynas.training.update import apply_update
from search_spaces import Architecture
from tuners.dmasking.method import DMasking
from tuners.dmasking.settings import MaskingSettings
from tuners.fp_nas.method import FpNas

EPOCHS = {
    "fp-nas-digits": ["method.epochs=40", "method.warmup_epochs=26", "method.joint_from=32"],
    "dmasking-digits": [
        "method.epochs=40",
        "method.warmup_epochs=12",
        f"method.cost_scale={MaskingSettings().cost_scale}",
        f"method.cost_exponent={MaskingSettings().cost_exponent}",
    ],
}
"""The changes of each recipe: the same epochs, with the share of the warm-up in its recipe, and FBNet's cost term."""
NAMES = {"fp-nas-digits": "FP-NAS", "dmasking-digits": "DMaskingNAS"}
RANDOM, DRAWN = 3, 2_000
"""Random architectures that are trained for each seed; architectures among which the costliest is taken."""
_CONTROLS = 5
"""Part of the seed of the controls."""


class Candidate(NamedTuple):
    """An architecture to train stand-alone, with the figures of its search."""

    name: str
    architecture: Architecture
    figures: dict[str, Any]


def recipes(seed: int, changes: Sequence[str], names: Sequence[str] = tuple(EPOCHS)) -> dict[str, Recipe]:
    """Return the recipe of each method."""
    return {
        name: Recipe.read(name, ["scale.train.workers=1", *EPOCHS[name], f"seed={seed}", *changes]) for name in names
    }


def search(name: str, recipe: Recipe, out: Path) -> Candidate:
    """Run a recipe, and return its network with the one-shot accuracy and the seconds of the search.

    A repeated command reads a finished search back, with its seconds.
    """
    measured = out / "seconds.json"
    if not measured.exists():
        start = time.process_time()
        run_in_process(recipe, out, threads=1)
        measured.write_text(json.dumps(time.process_time() - start))
    outcome = load(str(out))
    seconds, entropy = json.loads(measured.read_text()), outcome.evaluated.iloc[-1]["entropy"]
    figures = {"seconds": seconds, "top1": outcome.best["top1"], "entropy": entropy}
    return Candidate(NAMES[name], plan(recipe).space.parse(outcome.best["architecture"]), figures)


def controls(planned: Plan, seed: int) -> list[Candidate]:
    """Draw random architectures within the budget, and the costliest of all that were drawn."""
    generator = np.random.default_rng([seed, _CONTROLS])
    drawn = [planned.space.sample(generator) for _ in range(DRAWN)]
    costs = planned.costs.cost(drawn)
    within = np.flatnonzero(planned.recipe.budget.met(costs))
    costliest = within[costs["macs"][within].argmax()]
    chosen = [("random within the budget", place) for place in within[:RANDOM]]
    return [Candidate(name, drawn[place], {}) for name, place in [*chosen, ("costliest within the budget", costliest)]]


def train(recipe: Recipe, out: Path, candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
    """Train each architecture stand-alone; returns one row of the table for each."""
    rows = []
    with open_study(plan(recipe, out), RunFolder(out)) as study:
        own = InProcessStudy(study.context)
        for number, (name, architecture, figures) in enumerate(candidates):
            result = own.fit(f"fit-{number}", architecture, recipe.fit)
            costs = {"macs": result.macs, "params": result.params}
            rows.append({"setting": name, "standalone_top1": result.top1, **costs, **figures})
    return rows


def kept_bytes(recipe: Recipe) -> tuple[int, int]:
    """Return the peak of the bytes that a training step keeps for backward passes, and the bytes of the weights."""
    torch.manual_seed(0)
    planned = plan(recipe)
    space, method, size = planned.space, method_of_recipe(recipe), recipe.training.batch_size
    assert isinstance(method, FpNas | DMasking)
    images = torch.randn(size, 3, space.resolution, space.resolution).to(memory_format=torch.channels_last)
    engine = Engine(space, images, torch.arange(size) % 10)
    engine.supernet.train()
    learner = method.objective(recipe.budget).begin(space, planned.costs, 0)
    optimizers = {**engine.optimizers, **learner.groups()}
    updates = [update for updates in learner.passes(method.warmup_epochs) for update in updates]

    def step() -> None:
        of_step = TrainingStep(
            space, engine.supernet, [engine.batch], np.random.default_rng(0), functional.cross_entropy
        )
        for update in updates:
            apply_update(update, optimizers, RATE, of_step)

    return peak_kept_bytes(step), sum(parameter.nbytes for parameter in engine.supernet.parameters())


def cells(table: pd.DataFrame) -> Iterator[list[str]]:
    """Yield the cells of each method and control, means over its networks."""
    for name, networks in table.groupby("setting", sort=False):
        searched = networks["seconds"].notna().all()
        yield [
            str(name),
            str(len(networks)),
            f"{networks['top1'].mean():.1f}" if searched else "",
            spread(networks["standalone_top1"], 2),
            f"{networks['macs'].mean() / 1e3:.0f}",
            f"{networks['params'].mean() / 1e3:.1f}",
            f"{networks['seconds'].mean():.0f}" if searched else "",
            f"{networks['entropy'].mean():.1f}" if searched else "",
        ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_parser("fp_nas.dmasking", __doc__)
    text = "recipes of the searches (default: all)"
    parser.add_argument("--recipes", nargs="+", choices=list(EPOCHS), default=list(EPOCHS), help=text)
    add_seeds(parser, [0, 1])
    add_run_options(parser, "runs/fp-nas-dmasking")
    options = parser.parse_args(arguments)
    rows = []
    for seed in options.seeds:
        of_seed = recipes(seed, options.changes, options.recipes)
        found = [search(name, recipe, options.out / f"{name}-{seed}") for name, recipe in of_seed.items()]
        shared = of_seed[options.recipes[0]]
        rows += train(shared, options.out / f"fit-{seed}", [*found, *controls(plan(shared), seed)])
    print_heading("FP-NAS and DMaskingNAS in one space", ", ".join(map(str, options.seeds)))
    print("One-shot and stand-alone accuracy in per cent, mean ± standard deviation; seconds of one core.\n")
    columns = ("method", "networks", "one-shot", "stand-alone", "k macs", "k parameters", "seconds", "last entropy")
    print_table(columns, cells(pd.DataFrame(rows)))
    print("The peak of what a training step keeps for its backward passes, and the supernet's weights, in kB.\n")
    of_first = recipes(0, options.changes, options.recipes)
    memory = {NAMES[name]: kept_bytes(recipe) for name, recipe in of_first.items()}
    print_table(
        ("method", "kept", "weights"),
        [[name, *(f"{size / 1e3:.0f}" for size in sizes)] for name, sizes in memory.items()],
    )


if __name__ == "__main__":
    main()
