"""What do HM-NAS's masks keep and gain, at the size of the digits (tables 3, 5 and 6, figures 3, 4 and 6)?

    python -m benchmarks.hm_nas.tables [--seeds 0 1 2] [--no-rivals] [--random 18] [--thresholds 0 0.01] [--out DIR]

Every search is a run of the recipe `hm-nas-digits` with a few changed settings, in its own run folder under `--out`
(default: runs/hm-nas). A mask needs 50 training steps to cross the threshold, as the paper's masks of weights do. The
control learns the masks of the same supernets again, in this process, on the true and on shuffled labels.

As in the paper, the supernets learn by the second order (section 4.4), and the rivals are trained three times as long
as HM-NAS tunes: random architectures, the searched network from new weights, and DARTS's network. Random networks and
the networks by hand have so many channels that they are of HM-NAS's size (`benchmarks.hm_nas.equal_size`); the latter
also stand at their own size, tuned from the supernet's weights. `--no-rivals` leaves tables 5 and 6 out.

Prints the errors of the stages and of the rivals, the learned weights of the edges, and two pictures.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import raynas
from benchmarks.common.arguments import add_run_options, add_seeds, command_parser, parse_run_options
from benchmarks.common.report import FIGURES, print_figure_link, print_heading, print_table, save_figure, spread
from benchmarks.hm_nas.equal_size import random_architecture, train_at_size
from benchmarks.hm_nas.mask_control import TrainedSupernet, relearn_masks
from raynas.cluster import ray_session
from raynas.networks.fit import fit_run
from raynas.recipe.recipe import Recipe
from raynas.reporting.cells import draw_run
from raynas.reporting.terminal import Live
from raynas.results.evaluation_table import EvaluationTable
from raynas.storage.run_folder import RunFolder
from raynas.storage.step_records import training_histories
from search_spaces import load
from search_spaces.cell.genotype import Genotype
from search_spaces.cell.space import CellSpace
from tuners.darts.cells import edges_by_node

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RECIPE = "hm-nas-digits"
LONGER = 3
"""The rivals are trained this many times as long as HM-NAS tunes: 600 epochs against 200."""
STAGES = ("supernet", "searched", "tuned")
Runs = dict[str, list[list[dict[Any, Any]]]]
"""For each name the runs of all seeds; a run has a row for each of its stages."""

VARIANTS = {
    "HM-NAS": [],
    "multi-level, by hand": ["method.derive_by=strongest"],
    "single-level, by hand": ["method.derive_by=strongest", "method.encoding=single"],
}
"""The changes of the recipe, for each search."""
SIZE = (
    "method.order=2",
    "training.epochs=12",
    "method.mask_epochs=24",
    "method.max_mask_change=null",
    "method.max_weight_mask_change=null",
    "method.mask_rate=1e-4",
    "method.weight_mask_rate=1e-4",
)
"""Second order; a mask crosses the threshold after 50 training steps at the earliest: 0.005 at a rate of 1e-4."""


def search(folder: Path, changes: Sequence[str]) -> list[dict[Any, Any]]:
    """Search by HM-NAS. Returns the rows of its stages on the test images."""
    raynas.run(RECIPE, folder, changes, reporter=Live())
    table = EvaluationTable(RunFolder(folder)).read()
    return [row for stage in STAGES for row in table[table["accuracy_of"] == stage].to_dict("records")]


def darts(recipe: Recipe, seed: int, out: Path, changes: Sequence[str]) -> dict[str, Any]:
    """Search by first-order DARTS on the same space for the same epochs, and train its network stand-alone."""
    method = f"method={{name: darts, architecture_learning_rate: {recipe.method['architecture_learning_rate']}}}"
    raynas.run(RECIPE, out, [*changes, method, f"seed={seed}"], reporter=Live())
    return fit_run(str(out), [], [f"epochs={LONGER * recipe.fit.epochs}"], Live())[0]


def stage_rows(runs: Sequence[Sequence[Mapping[str, Any]]]) -> Iterator[list[str]]:
    """Yield the rows of table 3."""
    for number, stage in enumerate(STAGES):
        rows = [stages[number] for stages in runs]
        fewer = [100 * (1 - stages[number]["kept_params"] / stages[0]["kept_params"]) for stages in runs]
        errors = [100 - row["top1"] for row in rows]
        yield [
            stage,
            spread(errors, 2),
            " ".join(f"{error:.2f}" for error in errors),
            f"{np.mean([row['kept_params'] for row in rows]) / 1e3:.1f}",
            f"{np.mean(fewer):.0f}",
            ", ".join(f"{row['operations']:.0f} / {row['edges']:.0f}" for row in rows),
        ]


def control_rows(controls: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[list[str]]:
    """Yield for each kind of labels or threshold what masks remove, and the error of the masked networks."""
    for name, runs in controls.items():
        fewer, errors = [run["fewer"] for run in runs], [100 - run["top1"] for run in runs]
        left = ", ".join(f"{run['operations']} / {run['edges']}" for run in runs)
        yield [name, spread(fewer, 1), " ".join(f"{value:.1f}" for value in fewer), spread(errors, 2), left]


def rival_rows(networks: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[list[str]]:
    """Yield the rows of tables 5 and 6."""
    for name, of_seeds in networks.items():
        errors = [100 - network["top1"] for network in of_seeds]
        params = np.mean([network["params"] for network in of_seeds]) / 1e3
        each = " ".join(f"{error:.2f}" for error in errors)
        yield [name, spread(errors, 2), each, f"{params:.1f}", f"{of_seeds[0]['epochs']}"]


def importances(space: CellSpace, betas: Sequence[Sequence[float]]) -> Iterator[list[str]]:
    """Yield figure 6: the mean of beta over the edges into each node, before the softmax.

    Args:
        betas: for each seed, beta of every edge.
    """
    for edges in edges_by_node(space):
        means = [float(np.mean([beta[edge] for edge in edges])) for beta in betas]
        each = " ".join(f"{mean:+.3f}" for mean in means)
        yield [space.choices[edges[0]].group, str(len(edges)), spread(means, 3), each]


def learnt_betas(folders: Sequence[Path]) -> list[list[float]]:
    """Return beta of every edge after the training of each run's supernet."""
    return [TrainedSupernet.read(folder).mixture.beta.tolist() for folder in folders]


def plot(hm_nas: Path, darts: Path) -> Figure:
    """Draw figure 3: training errors by epoch, one seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panel = figure.subplots()
    curves = (("HM-NAS", hm_nas, "C0", ("supernet", "masks", "tuned")), ("DARTS", darts, "C3", ("supernet", "fit")))
    for name, folder, colour, trainings in curves:
        start = 0
        for step, epochs in training_histories(RunFolder(folder)).items():
            if step.partition("-")[0] not in trainings:
                continue
            errors = [100 - row["top1"] for row in epochs]
            ends = [start + number + 1 for number in range(len(errors))]
            panel.plot(ends, errors, color=colour, label=None if start else name)
            panel.annotate(step.partition("-")[0], (ends[0], errors[0]), fontsize=8, color=colour)
            start = ends[-1]
    panel.set(xlabel="epoch", ylabel="training error (%)")
    panel.legend()
    return figure


def run_searches(options: Namespace) -> list[list[dict[Any, Any]]]:
    """Run HM-NAS. Returns for each seed the rows of its stages."""
    return [search(options.out / f"0-seed-{seed}", [*SIZE, *options.changes, f"seed={seed}"]) for seed in options.seeds]


def run_rivals(options: Namespace, recipe: Recipe, space: CellSpace, params: float) -> tuple[Runs, Runs]:
    """Run the searches that HM-NAS is compared with, and the networks that are trained stand-alone.

    Args:
        params: the parameters of HM-NAS's network, the size of random networks and of those by hand.

    Returns:
        The stages of the searches, and the networks, each for all seeds.
    """
    changes = [*SIZE, *options.changes]
    longer = LONGER * recipe.fit.epochs
    searches: Runs = {
        name: [
            search(options.out / f"{number}-seed-{seed}", [*changes, *variant, f"seed={seed}"])
            for seed in options.seeds
        ]
        for number, (name, variant) in enumerate(VARIANTS.items())
        if variant
    }
    searches["new weights"] = [
        search(
            options.out / f"new-seed-{seed}",
            [
                *changes,
                f"method.searched_run={options.out / f'0-seed-{seed}'}",
                "method.inherit=false",
                f"fit.epochs={longer}",
                f"seed={seed}",
            ],
        )
        for seed in options.seeds
    ]

    def fit_at_size(text: str, seed: int, name: str) -> list[dict[Any, Any]]:
        sized = Recipe.read(recipe.json_value(), [f"fit.epochs={longer}", f"seed={seed}"])
        return [train_at_size(sized, text, params, options.out / f"{name}-{seed}")]

    by_hand: Runs = {
        f"{name}, equal size": [
            fit_at_size(str(stages[-1]["architecture"]), seed, f"{name.partition(' ')[0]}-equal")
            for seed, stages in zip(options.seeds, searches[name], strict=True)
        ]
        for name, variant in VARIANTS.items()
        if variant
    }
    drawn = [random_architecture(space, number) for number in range(options.random)]
    rivals: Runs = {
        **by_hand,
        "random architecture": [fit_at_size(text, number, "random") for number, text in enumerate(drawn)],
        "DARTS": [[darts(recipe, seed, options.out / f"darts-seed-{seed}", changes)] for seed in options.seeds],
    }
    return searches, rivals


def compare(searches: Runs, rivals: Runs, tuning_epochs: int) -> dict[str, list[dict[str, Any]]]:
    """Return the networks of tables 5 and 6: top-1 in per cent, parameters, and epochs of their weights."""
    networks: dict[str, list[dict[str, Any]]] = {}
    for name, runs in searches.items():
        epochs = tuning_epochs * (LONGER if name == "new weights" else 1)
        last = [stages[-1] for stages in runs]
        networks[name] = [{"top1": row["top1"], "params": row["kept_params"], "epochs": epochs} for row in last]
    for name, runs in rivals.items():
        networks[name] = [{**network, "epochs": LONGER * tuning_epochs} for (network,) in runs]
    return networks


def print_controls(folders: Sequence[Path]) -> None:
    """Print what masks remove on true and on shuffled labels."""
    controls = {
        name: [relearn_masks(folder, shuffled) for folder in folders]
        for name, shuffled in (("true labels", False), ("shuffled labels", True))
    }
    print("The masks of the same supernets, learnt again in this process (table 3's control).\n")
    columns = ("labels of the masks", "% fewer", "of each seed", "error", "operations / edges")
    print_table(columns, control_rows(controls))


def print_thresholds(folder: Path, thresholds: Sequence[float]) -> None:
    """Print what masks remove with each threshold (footnote 1)."""
    runs = {f"{threshold:g}": [relearn_masks(folder, threshold=threshold)] for threshold in thresholds}
    print("The masks of the first seed's supernet, learnt again with other thresholds (footnote 1).\n")
    print_table(("threshold", "% fewer", "of each seed", "error", "operations / edges"), control_rows(runs))


def print_genotypes(space: CellSpace, folders: Sequence[Path]) -> None:
    """Print beta of the edges, and the number of operations that edges keep."""
    genotypes = [Genotype.parse(space, (folder / "genotype.txt").read_text()) for folder in folders]
    print("Beta of the edges into each node, before the softmax: mean over the edges (figure 6).\n")
    print_table(("node", "edges", "mean over the seeds", "of each seed"), importances(space, learnt_betas(folders)))
    kept = [value.bit_count() for genotype in genotypes for value in genotype.architecture.indices]
    counts = np.bincount(kept, minlength=len(space.choices[0].options) + 1)
    print("Edges by the number of operations that they keep, over all seeds (figure 4c):\n")
    print_table([str(number) for number in range(len(counts))], [[str(count) for count in counts]])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_parser("hm_nas.tables", __doc__)
    add_seeds(parser, [0, 1, 2])
    parser.add_argument("--no-rivals", action="store_true", help="leave tables 5 and 6 out")
    text = "number of random architectures of table 6 (default: 18, the paper's)"
    parser.add_argument("--random", type=int, default=18, help=text)
    text = "thresholds of footnote 1, for the first seed (default: none); the paper has 0 to 0.01"
    parser.add_argument("--thresholds", type=float, nargs="+", default=[], help=text)
    add_run_options(parser, "runs/hm-nas")
    options = parse_run_options(parser, arguments)
    torch.set_num_threads(1)
    recipe = Recipe.read(RECIPE, [*SIZE, *options.changes])
    settings = {key: value for key, value in recipe.space.items() if key != "name"}
    space = load(recipe.space["name"], **settings)
    assert isinstance(space, CellSpace)
    with ray_session.connect():
        stages = run_searches(options)
        params = float(np.mean([of_seed[-1]["kept_params"] for of_seed in stages]))
        compared = None if options.no_rivals else run_rivals(options, recipe, space, params)
    folders = [options.out / f"0-seed-{seed}" for seed in options.seeds]
    print_heading("HM-NAS's stages and its rivals", ", ".join(map(str, options.seeds)))
    print("Errors on the test images in per cent: mean ± standard deviation, and of each seed.\n")
    columns: tuple[str, ...] = ("table 3", "error", "of each seed", "k parameters", "% fewer", "operations / edges")
    print_table(columns, stage_rows(stages))
    print_controls(folders)
    if options.thresholds:
        print_thresholds(folders[0], options.thresholds)
    if compared is not None:
        searches, rivals = compared
        networks = compare({"HM-NAS": stages, **searches}, rivals, recipe.fit.epochs)
        columns = ("tables 5 and 6", "error", "of each seed", "k parameters", "epochs of its weights")
        print_table(columns, rival_rows(networks))
        figure = plot(folders[0], options.out / f"darts-seed-{options.seeds[0]}")
        save_figure(figure, "hm_nas_curves", "Figure 3")
    print_genotypes(space, folders)
    draw_run(str(folders[0]), FIGURES / "hm_nas_cell.png")
    print_figure_link("hm_nas_cell", f"Figure 4: the cell of seed {options.seeds[0]}")


if __name__ == "__main__":
    main()
