"""Which schedule of the distribution finds the best architecture (FP-NAS table 5, figures 3 and 4)? On known losses.

    python -m benchmarks.fp_nas.distribution_schedules [--space nas-bench-macro] [--seeds 0 1 2 3 4] [--updates 8400]

The distribution learns as in a search, with the paper's Adam and 8,400 updates. A table gives the loss of each drawn
architecture, so that no supernet blurs the comparison.

- On NAS-Bench-Macro the table has true accuracies. A stage counts as a layer of 2, 3 and 3 choices.
- On `fbnetv2-f`, the paper's space, the table is made up.

Prints a table with two controls: random architectures within the budget, and the costliest ones. A repeated command
reads finished searches from `--out`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.common.arguments import add_seeds, command_parser
from benchmarks.common.report import print_heading, print_table, save_figure, spread
from benchmarks.fp_nas.known_losses import STEPS_OF_EPOCH, Landscape, MacroLandscape, SyntheticLandscape, learn
from tuners.fp_nas.drawn_paths import DrawnPaths

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIRST = 14
"""K of the first update."""
UPDATES, EPOCHS, WARMUP_EPOCHS = 8400, 315, 45
LANDSCAPES: dict[str, type[MacroLandscape] | type[SyntheticLandscape]] = {
    "nas-bench-macro": MacroLandscape,
    "fbnetv2-f": SyntheticLandscape,
}
SCHEDULES: dict[str, tuple[str, bool, int]] = {
    "FS K=14, joint only": ("joint", False, 0),
    "AS, joint only": ("joint", True, 0),
    "AS, factorised only": ("factorised", True, 0),
    "AS, joint from 80": ("mixed", True, 80),
    "AS, joint from 150": ("mixed", True, 150),
}
"""The distribution, whether K adapts, and the epoch from which a mixed distribution is joint."""
CONTROLS = ("random within the budget", "costliest within the budget")
COSTLIEST = 20
"""The number of the costliest of all random architectures within the budget, whose mean is the control."""


def settings_of(schedule: str, nats: float, scale: float) -> DrawnPaths:
    """Return the settings of a schedule; lambda is scaled so that K begins with 14 at this entropy."""
    distribution, adapts, _ = SCHEDULES[schedule]
    size = {"per_nat": (FIRST + 0.06) / nats} if adapts else {"fixed": FIRST}
    values = {"sample_size": size, "distribution": distribution, "likelihood_scale": scale, "warmup_epochs": 0}
    return DrawnPaths.model_validate(values)


def search(landscape: Landscape, schedule: str, seed: int, updates: int, scale: float) -> dict[str, Any]:
    """Return the figures of one search, with one row for each epoch."""
    settings = settings_of(schedule, math.log(landscape.space.size()), scale)
    joint_from = round((SCHEDULES[schedule][2] - WARMUP_EPOCHS) / (EPOCHS - WARMUP_EPOCHS) * updates)
    learned = learn(landscape, settings, updates, joint_from, seed)
    return {"schedule": schedule, "seed": seed, **learned.row, "epochs": learned.epochs}


def searches(
    landscape: Landscape, seeds: Sequence[int], updates: int, scale: float, folder: Path
) -> list[dict[str, Any]]:
    """Return all searches. Finished ones are read from the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    results = []
    for seed in seeds:
        for number, schedule in enumerate(SCHEDULES):
            file = folder / f"{number}-{seed}.json"
            if not file.exists():
                found = search(landscape, schedule, seed, updates, scale)
                aside = file.with_suffix(".part")
                aside.write_text(json.dumps(found))
                aside.replace(file)
            results.append(json.loads(file.read_text()))
    return results


def rows(landscape: Landscape, results: Sequence[dict[str, Any]], updates: int) -> Iterator[list[str]]:
    """Yield the cells of each schedule, then of the controls."""
    first_updates = round(WARMUP_EPOCHS / (EPOCHS - WARMUP_EPOCHS) * updates)
    at_80 = round((80 - WARMUP_EPOCHS) / (EPOCHS - WARMUP_EPOCHS) * updates)
    for schedule in SCHEDULES:
        trials = [result for result in results if result["schedule"] == schedule]
        samples = np.mean([trial["total_samples"] for trial in trials])
        entropy = np.mean(
            [min(trial["epochs"], key=lambda row: abs(row["update"] - at_80))["entropy"] for trial in trials]
        )
        yield [
            schedule,
            *(f"{(samples + warmup * first_updates) / 1e3:.1f}" for warmup in (1, FIRST)),
            f"{entropy:.1f}",
            f"{np.mean([trial['entropy'] for trial in trials]):.1f}",
            f"{np.mean([trial['macs'] for trial in trials]) / 1e6:.2f}",
            spread([trial["quality"] for trial in trials], 2),
            f"{np.mean([landscape.as_good(trial['quality']) for trial in trials]):.1f}",
        ]
    macs = landscape.macs(landscape.within)
    costliest = np.argsort(macs)[-COSTLIEST:]
    for name, chosen in zip(CONTROLS, (np.arange(len(macs)), costliest), strict=True):
        quality = landscape.within_quality[chosen]
        shares = np.mean([landscape.as_good(value) for value in quality])
        yield [name, "", "", "", "", f"{macs[chosen].mean() / 1e6:.2f}", spread(quality, 2), f"{shares:.1f}"]


def plot(landscape: Landscape, results: Sequence[dict[str, Any]]) -> Figure:
    """Draw figures 3a, 3b, 3c and 3d: quality against cost, entropy, the mode's quality, architectures drawn."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.4), layout="constrained")
    chosen, entropy, mode, drawn = figure.subplots(1, 4)
    chosen.scatter(landscape.macs(landscape.within) / 1e6, landscape.within_quality, s=2, color="lightgrey")
    for number, schedule in enumerate(SCHEDULES):
        trials = [result for result in results if result["schedule"] == schedule]
        samples = np.mean([trial["total_samples"] for trial in trials]) / 1e3
        chosen.scatter([t["macs"] / 1e6 for t in trials], [t["quality"] for t in trials], s=samples, label=schedule)
        epochs = [row["update"] / STEPS_OF_EPOCH + WARMUP_EPOCHS for row in trials[0]["epochs"]]
        for panel, key in ((entropy, "entropy"), (mode, "most_probable")):
            panel.plot(epochs, np.mean([[row[key] for row in trial["epochs"]] for trial in trials], axis=0))
        drawn.bar(number, samples)
    chosen.set(xlabel="M multiply-adds", ylabel=f"quality ({landscape.unit})")
    chosen.legend(fontsize=6)
    entropy.set(xlabel="epoch", ylabel="entropy (nats)")
    mode.set(xlabel="epoch", ylabel="quality of the most probable")
    drawn.set(xticks=range(len(SCHEDULES)), xticklabels=range(1, len(SCHEDULES) + 1), ylabel="thousands drawn")
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_parser("fp_nas.distribution_schedules", __doc__)
    parser.add_argument("--space", choices=list(LANDSCAPES), nargs="+", default=list(LANDSCAPES), help="search spaces")
    add_seeds(parser, range(5))
    parser.add_argument("--updates", type=int, default=UPDATES, help=f"updates of a search (default: {UPDATES})")
    parser.add_argument("--scale", type=float, default=1.0, help="likelihood scale (default: 1)")
    parser.add_argument("--out", type=Path, default=Path("runs/distribution-schedules"), help="folder of the searches")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print_heading("FP-NAS's schedules on known losses", ", ".join(map(str, options.seeds)))
    print(f"- {options.updates:,} updates; likelihood scale {options.scale:g}; Adam at 0.016; cost weight 0.3")
    print("- drawn: thousands of architectures in a search, with K = 1 or K = 14 in the warm-up of 45 of 315 epochs")
    print("- as good: the share of random architectures within the budget that are at least as good, in per cent\n")
    for name in options.space:
        landscape = LANDSCAPES[name]()
        folder = options.out / f"{name}-{options.updates}-{options.scale:g}"
        results = searches(landscape, options.seeds, options.updates, options.scale, folder)
        print(f"### {name}: {len(landscape.within):,} random architectures within the budget\n")
        columns = ("schedule", "K = 1", "K = 14", "nats at 80", "last nats", "M macs", landscape.unit, "as good")
        print_table(columns, rows(landscape, results, options.updates))
        save_figure(
            plot(landscape, results), f"distribution_schedules_{name}", "Figures 3a to 3d, means over the seeds"
        )


if __name__ == "__main__":
    main()
