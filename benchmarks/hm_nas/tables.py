"""HM-NAS tables 3, 5 and 6 and figures 3, 4 and 6 at the size of the digits.

    python -m benchmarks.hm_nas.tables [--seeds 0 1 2] [--set PATH=VALUE] [--out runs/hm-nas]

Every search is a run of the recipe `hm-nas-digits` with a few settings changed, in a run folder of its own under
`--out`: the command goes on with what is not finished. What is compared with HM-NAS is trained three times as long as
HM-NAS tunes, as in the paper: random architectures, the searched network from new weights, and DARTS's.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import raynas
from benchmarks.common.report import heading, picture, table
from raynas.cluster import ray_session
from raynas.networks.fit import fit_run
from raynas.recipe.recipe import Recipe
from raynas.reporting.cells import draw_run
from raynas.results.evaluation_table import EvaluationTable
from raynas.storage.progress import Live
from raynas.storage.run_folder import RunFolder
from raynas.storage.step_records import training_histories
from search_spaces import load
from search_spaces.cell.genotype import Genotype
from search_spaces.cell.space import CellSpace
from tuners.darts.weighted_mixture import nodes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RECIPE = "hm-nas-digits"
LONGER = 3
"""How many times as long as HM-NAS tunes its rivals are trained: 600 epochs against 200."""
STAGES = ("supernet", "searched", "tuned")


VARIANTS = {
    "HM-NAS": [],
    "multi-level, by hand": ["method.rule=strongest"],
    "single-level, by hand": ["method.rule=strongest", "method.encoding=single"],
}
"""What each search changes of the recipe."""
SIZE = ("training.epochs=12", "method.mask_epochs=12")


def search(folder: Path, changes: Sequence[str]) -> list[dict[Any, Any]]:
    """One search; the rows of its stages on the test images."""
    raynas.run(RECIPE, folder, changes, reporter=Live())
    rows = EvaluationTable(RunFolder(folder)).read()
    return [row for stage in STAGES for row in rows[rows["accuracy_of"] == stage].to_dict("records")]


def random_architecture(space: CellSpace, seed: int) -> str:
    """An operation drawn for each of two drawn inputs of every node (table 6)."""
    generator = np.random.default_rng(seed)
    values = [0] * len(space.choices)
    for edges in nodes(space):
        for edge in generator.choice(edges, size=2, replace=False):
            values[edge] = 1 << int(generator.integers(len(space.choices[edge].options)))
    return str(space.architecture(values))


def darts(recipe: Recipe, seed: int, out: Path, changes: Sequence[str]) -> dict[str, Any]:
    """First-order DARTS's search on the same space for as many epochs, and its network trained alone."""
    method = f"method={{name: darts, architecture_learning_rate: {recipe.method['architecture_learning_rate']}}}"
    raynas.run(RECIPE, out, [*changes, method, f"seed={seed}"], reporter=Live())
    return fit_run(str(out), [], [f"epochs={LONGER * recipe.fit.epochs}"], Live())[0]


def stage_rows(found: Sequence[Sequence[Mapping[str, Any]]]) -> Iterator[list[str]]:
    """Table 3."""
    for number, stage in enumerate(STAGES):
        rows = [stages[number] for stages in found]
        fewer = [100 * (1 - stages[number]["kept_params"] / stages[0]["kept_params"]) for stages in found]
        errors = [100 - row["top1"] for row in rows]
        yield [
            stage,
            _spread(errors),
            " ".join(f"{error:.2f}" for error in errors),
            f"{np.mean([row['kept_params'] for row in rows]) / 1e3:.1f}",
            f"{np.mean(fewer):.0f}",
            ", ".join(f"{row['operations']:.0f} / {row['edges']:.0f}" for row in rows),
        ]


def rival_rows(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[list[str]]:
    """Tables 5 and 6."""
    for name, runs in found.items():
        errors = [100 - run["top1"] for run in runs]
        params = np.mean([run["params"] for run in runs]) / 1e3
        each = " ".join(f"{error:.2f}" for error in errors)
        yield [name, _spread(errors), each, f"{params:.1f}", f"{runs[0]['epochs']}"]


def importances(genotypes: Sequence[Genotype]) -> Iterator[list[str]]:
    """Figure 6: the mean weight of the edges into each node, and of its strongest edge in shares of an even one."""
    for edges in nodes(genotypes[0].space):
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


def plot(ours: Path, theirs: Path) -> Figure:
    """Figure 3: training errors by epoch, one seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panel = figure.subplots()
    ways = (("HM-NAS", ours, "C0", ("supernet", "masks", "tuned")), ("DARTS", theirs, "C3", ("supernet", "fit")))
    for name, folder, colour, trainings in ways:
        begun = 0
        for step, epochs in training_histories(RunFolder(folder)).items():
            if step.partition("-")[0] not in trainings:
                continue
            errors = [100 - row["top1"] for row in epochs]
            ends = [begun + number + 1 for number in range(len(errors))]
            panel.plot(ends, errors, color=colour, label=name if not begun else None)
            panel.annotate(step.partition("-")[0], (ends[0], errors[0]), fontsize=8, color=colour)
            begun = ends[-1]
    panel.set(xlabel="epoch", ylabel="training error (%)")
    panel.legend()
    return figure


def _spread(values: Sequence[float]) -> str:
    return f"{np.mean(values):.2f} ± {np.std(values):.2f}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hm_nas.tables", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/hm-nas"))
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="PATH=VALUE")
    given = parser.parse_args(arguments)
    recipe = Recipe.read(RECIPE, [*SIZE, *given.changes])
    settings = {key: value for key, value in recipe.space.items() if key != "name"}
    space = load(recipe.space["name"], **settings)
    assert isinstance(space, CellSpace)
    tuning, longer = recipe.fit.epochs, f"fit.epochs={LONGER * recipe.fit.epochs}"
    changes = [*SIZE, *given.changes]
    folders = {
        name: [given.out / f"{number}-seed-{seed}" for seed in given.seeds] for number, name in enumerate(VARIANTS)
    }
    with ray_session.connect():
        found = {
            name: [
                search(folder, [*changes, *VARIANTS[name], f"seed={seed}"])
                for folder, seed in zip(folders[name], given.seeds, strict=True)
            ]
            for name in VARIANTS
        }
        found["new weights"] = [
            search(
                given.out / f"new-seed-{seed}",
                [*changes, f"method.searched={folder}", "method.inherit=false", longer, f"seed={seed}"],
            )
            for folder, seed in zip(folders["HM-NAS"], given.seeds, strict=True)
        ]
        others = {
            "random architecture": [
                fit_run(str(folder), [random_architecture(space, seed)], [longer.removeprefix("fit.")], Live())[0]
                for folder, seed in zip(folders["HM-NAS"], given.seeds, strict=True)
            ],
            "DARTS": [darts(recipe, seed, given.out / f"darts-seed-{seed}", changes) for seed in given.seeds],
        }
    heading("HM-NAS's stages and what it is compared with", ", ".join(map(str, given.seeds)))
    print("Errors on the test images in per cent, mean ± standard deviation, and of each seed.\n")
    table(
        ("table 3", "error", "of each seed", "k parameters", "% fewer", "operations / edges"),
        stage_rows(found["HM-NAS"]),
    )
    rivals: dict[str, list[dict[str, Any]]] = {
        name: [
            {
                "top1": rows[-1]["top1"],
                "params": rows[-1]["kept_params"],
                "epochs": tuning * (LONGER if name == "new weights" else 1),
            }
            for rows in runs
        ]
        for name, runs in found.items()
    }
    for name, fitted in others.items():
        rivals[name] = [{**run, "epochs": LONGER * tuning} for run in fitted]
    columns = ("tables 5 and 6", "error", "of each seed", "k parameters", "epochs of its weights")
    table(columns, rival_rows(rivals))
    genotypes = [Genotype.parse(space, (folder / "genotype.txt").read_text()) for folder in folders["HM-NAS"]]
    print("The edges' learned weights (figures 4 and 6); those into a node add up to 1 before the masks.\n")
    columns = ("node", "edges", "mean weight of an edge", "the strongest, times edges", "kept, by seed")
    table(columns, importances(genotypes))
    counts = np.bincount(
        [value.bit_count() for genotype in genotypes for value in genotype.architecture.indices],
        minlength=len(space.choices[0].options) + 1,
    )
    print("Edges by how many operations they keep, over all seeds (figure 4c):\n")
    table([str(number) for number in range(len(counts))], [[str(count) for count in counts]])
    picture(plot(folders["HM-NAS"][0], given.out / f"darts-seed-{given.seeds[0]}"), "hm_nas_curves", "Figure 3")
    drawn = Path(__file__).parents[1] / "figures" / "hm_nas_cell.png"
    draw_run(str(folders["HM-NAS"][0]), drawn)
    print(f"![Figure 4: the cell of seed {given.seeds[0]}](../figures/{drawn.name})\n")


if __name__ == "__main__":
    main()
