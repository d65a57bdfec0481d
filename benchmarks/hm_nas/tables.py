"""What do HM-NAS's masks keep and gain, at the size of the digits (tables 3, 5 and 6, figures 3, 4 and 6)?

    python -m benchmarks.hm_nas.tables [--seeds 0 1 2] [--set PATH=VALUE] [--out runs/hm-nas]

Every search is a run of the recipe `hm-nas-digits` with a few changed settings, in its own run folder under `--out`. As
in the paper, the rivals are trained three times as long as HM-NAS tunes: random architectures, the searched network
from new weights, and DARTS's network.

Prints the errors of the stages and of the rivals, the learned weights of the edges, and two pictures.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import raynas
from benchmarks.common.arguments import add_run_options, add_seeds, command_parser
from benchmarks.common.report import FIGURES, print_figure_link, print_heading, print_table, save_figure, spread
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
SIZE = ("training.epochs=12", "method.mask_epochs=12")


def search(folder: Path, changes: Sequence[str]) -> list[dict[Any, Any]]:
    """Search by HM-NAS. Returns the rows of its stages on the test images."""
    raynas.run(RECIPE, folder, changes, reporter=Live())
    table = EvaluationTable(RunFolder(folder)).read()
    return [row for stage in STAGES for row in table[table["accuracy_of"] == stage].to_dict("records")]


def random_architecture(space: CellSpace, seed: int) -> str:
    """Draw two inputs of every node, and an operation for each of them (table 6)."""
    generator = np.random.default_rng(seed)
    values = [0] * len(space.choices)
    for edges in edges_by_node(space):
        for edge in generator.choice(edges, size=2, replace=False):
            values[edge] = 1 << int(generator.integers(len(space.choices[edge].options)))
    return str(space.architecture(values))


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


def rival_rows(networks: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[list[str]]:
    """Yield the rows of tables 5 and 6."""
    for name, of_seeds in networks.items():
        errors = [100 - network["top1"] for network in of_seeds]
        params = np.mean([network["params"] for network in of_seeds]) / 1e3
        each = " ".join(f"{error:.2f}" for error in errors)
        yield [name, spread(errors, 2), each, f"{params:.1f}", f"{of_seeds[0]['epochs']}"]


def importances(genotypes: Sequence[Genotype]) -> Iterator[list[str]]:
    """Yield figure 6: the mean weight of the edges into each node, and the strongest over the mean edge."""
    for edges in edges_by_node(genotypes[0].space):
        name = genotypes[0].space.choices[edges[0]].group
        means = [np.mean([genotype.edges[edge] for edge in edges]) for genotype in genotypes]
        greatest = [max(genotype.edges[edge] for edge in edges) * len(edges) for genotype in genotypes]
        kept = [str(sum(genotype.edges[edge] > 0 for edge in edges)) for genotype in genotypes]
        yield [
            name,
            str(len(edges)),
            f"{np.mean(means):.3f} ± {np.std(means):.3f}",
            f"{np.mean(greatest):.2f}",
            " ".join(kept),
        ]


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


def run_searches(options: Namespace, recipe: Recipe, space: CellSpace) -> tuple[Runs, Runs]:
    """Run all searches of HM-NAS, and all rivals. Returns for each name the runs of all seeds.

    Returns:
        The stages of HM-NAS's searches, and the networks of the rivals.
    """
    changes = [*SIZE, *options.changes]
    longer = LONGER * recipe.fit.epochs
    searches: Runs = {}
    for number, (name, variant) in enumerate(VARIANTS.items()):
        searches[name] = [
            search(options.out / f"{number}-seed-{seed}", [*changes, *variant, f"seed={seed}"])
            for seed in options.seeds
        ]
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
    rivals: Runs = {
        "random architecture": [
            fit_run(
                str(options.out / f"0-seed-{seed}"), [random_architecture(space, seed)], [f"epochs={longer}"], Live()
            )
            for seed in options.seeds
        ],
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


def print_genotypes(genotypes: Sequence[Genotype]) -> None:
    """Print the learned weights of edges, and the number of operations that edges keep."""
    print("The edges' learned weights (figures 4 and 6). Before the masks, the edges into a node add up to 1.\n")
    columns = ("node", "edges", "mean weight of an edge", "the strongest, times edges", "kept, by seed")
    print_table(columns, importances(genotypes))
    kept = [value.bit_count() for genotype in genotypes for value in genotype.architecture.indices]
    counts = np.bincount(kept, minlength=len(genotypes[0].space.choices[0].options) + 1)
    print("Edges by the number of operations that they keep, over all seeds (figure 4c):\n")
    print_table([str(number) for number in range(len(counts))], [[str(count) for count in counts]])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_parser("hm_nas.tables", __doc__)
    add_seeds(parser, [0, 1, 2])
    add_run_options(parser, "runs/hm-nas")
    options = parser.parse_args(arguments)
    recipe = Recipe.read(RECIPE, [*SIZE, *options.changes])
    settings = {key: value for key, value in recipe.space.items() if key != "name"}
    space = load(recipe.space["name"], **settings)
    assert isinstance(space, CellSpace)
    with ray_session.connect():
        searches, rivals = run_searches(options, recipe, space)
    print_heading("HM-NAS's stages and its rivals", ", ".join(map(str, options.seeds)))
    print("Errors on the test images in per cent: mean ± standard deviation, and of each seed.\n")
    columns: tuple[str, ...] = ("table 3", "error", "of each seed", "k parameters", "% fewer", "operations / edges")
    print_table(columns, stage_rows(searches["HM-NAS"]))
    columns = ("tables 5 and 6", "error", "of each seed", "k parameters", "epochs of its weights")
    print_table(columns, rival_rows(compare(searches, rivals, recipe.fit.epochs)))
    folders = [options.out / f"0-seed-{seed}" for seed in options.seeds]
    print_genotypes([Genotype.parse(space, (folder / "genotype.txt").read_text()) for folder in folders])
    save_figure(plot(folders[0], options.out / f"darts-seed-{options.seeds[0]}"), "hm_nas_curves", "Figure 3")
    draw_run(str(folders[0]), FIGURES / "hm_nas_cell.png")
    print_figure_link("hm_nas_cell", f"Figure 4: the cell of seed {options.seeds[0]}")


if __name__ == "__main__":
    main()
