"""Is FTSO's topology on DARTS's cells better than one that nobody searched (controls of FTSO table 3)?

    python -m benchmarks.ftso.cell_controls [--seeds 0 1 2] [--repeats 3] [--draws 3] [--set PATH=VALUE]
        [--out runs/ftso-controls]

The networks and images are those of `tables`. FTSO searches for one epoch, on the true and on shuffled labels of the
training images. Two kinds of topologies need no search: every node keeps its first two inputs, or two random inputs.
All kept edges get 3x3 separable convolutions, and all networks are trained stand-alone on the true labels.

A seed decides the images, the searches and the random topologies. Repeats train one network on the same images, with
other initial weights, orders of the images and augmentations: a training step of another name draws other numbers.
The spread of repeats is the least difference of two rows that means anything.

Prints two tables: accuracy on the test images in per cent, and the edges that each topology shares with FTSO's.
"""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import raynas
from benchmarks.common.arguments import add_run_options, add_seeds, command_parser, parse_run_options
from benchmarks.common.report import print_heading, print_table, spread
from benchmarks.common.shared_data import CIFAR10
from benchmarks.ftso.tables import PARTIAL, RECIPE, SEPARABLE
from raynas.cluster import ray_session
from raynas.recipe.recipe import Recipe
from raynas.reporting.terminal import Live
from raynas.storage.run_folder import RunFolder
from raynas.study.run import open_study
from raynas.study.run_plan import plan
from search_spaces import SearchSpace, load
from search_spaces.architecture import NOTHING
from tuners.darts.cells import edges_by_node
from tuners.ftso.topologies import CellTopologies

INPUTS = 2
SEARCH = [f"{path}={value}" for path, value in PARTIAL.items()]
FOUND, SHUFFLED, FIRST, RANDOM = "FTSO, 1 epoch", "FTSO on shuffled labels", "first two inputs", "random inputs"


def topology_text(space: SearchSpace, generator: np.random.Generator | None) -> str:
    """Return the cells whose nodes keep two random inputs, or without a generator their first two."""
    kept: set[int] = set()
    for edges in edges_by_node(space):
        kept |= {*edges[:INPUTS]} if generator is None else {*generator.choice(edges, INPUTS, replace=False).tolist()}
    return str(CellTopologies(space, ["skip_connect"], SEPARABLE).replace_operators(frozenset(kept)))


def write_shuffled(out: Path, seed: int) -> Path:
    """Write the images with the labels of the training images in another order. Returns the file."""
    file = out / f"shuffled-{seed}.npz"
    if not file.exists():
        with np.load(CIFAR10) as data:
            arrays = dict(data)
        arrays["y_train"] = np.random.default_rng(seed).permutation(arrays["y_train"])
        out.mkdir(parents=True, exist_ok=True)
        np.savez(file, **arrays)
    return file


def found_text(options: Namespace, seed: int, shuffled: bool) -> str:
    """Search by FTSO for one epoch. Returns the cells; the short training of their network is not used."""
    name = "shuffled" if shuffled else "true"
    data = [f"data.path={write_shuffled(options.out, seed)}"] if shuffled else []
    changes = [*SEARCH, *options.changes, *data, "fit.epochs=1", f"seed={seed}"]
    outcome = raynas.run(
        Recipe.read({**RECIPE, "method": "ftso"}, changes), options.out / f"{name}-{seed}", reporter=Live()
    )
    return str(outcome.best["architecture"])


def compared_texts(options: Namespace, space: SearchSpace, seed: int) -> dict[str, list[str]]:
    """Return the cells of each row for one seed."""
    generator = np.random.default_rng(seed)
    return {
        FOUND: [found_text(options, seed, shuffled=False)],
        SHUFFLED: [found_text(options, seed, shuffled=True)],
        FIRST: [topology_text(space, None)],
        RANDOM: [topology_text(space, generator) for _ in range(options.draws)],
    }


def train_texts(options: Namespace, seed: int, texts: dict[str, list[str]]) -> pd.DataFrame:
    """Train the networks of a seed in one run, random topologies once, and the others as often as there are repeats.

    Returns:
        One row for each training: `topology`, `seed`, `text`, and `top1` on the test images in per cent.
    """
    recipe = Recipe.read({**RECIPE, "method": "fit"}, [*options.changes, f"seed={seed}"])
    rows = []
    with open_study(plan(recipe), RunFolder(options.out / f"networks-{seed}"), Live()) as study:
        for number, (topology, cells) in enumerate(texts.items()):
            trainings = cells if topology == RANDOM else cells * options.repeats
            for repeat, text in enumerate(trainings):
                network = study.fit(f"network-{number}-{repeat}", study.space.parse(text), recipe.fit)
                rows.append({"topology": topology, "seed": seed, "text": text, "top1": network.top1})
    return pd.DataFrame(rows)


def repeat_deviation(trainings: pd.DataFrame) -> float:
    """Return the standard deviation of repeats: of the trainings of one network on the images of one seed.

    The variances (n - 1 degrees of freedom) of all networks with repeats are pooled. NaN if no network has repeats.
    """
    groups = trainings.groupby(["topology", "seed", "text"])["top1"]
    degrees = int((groups.count() - 1).sum())
    squares = ((trainings["top1"] - groups.transform("mean")) ** 2).sum()
    return math.sqrt(squares / degrees) if degrees else math.nan


def accuracy_rows(trainings: pd.DataFrame) -> Iterator[list[str]]:
    """Yield a row for each way to a topology."""
    for name, rows in trainings.groupby("topology", sort=False):
        by_seed = [" ".join(f"{value:.1f}" for value in top1) for _, top1 in rows.groupby("seed")["top1"]]
        repeats = repeat_deviation(rows)
        yield [
            str(name),
            spread(rows.groupby("seed")["top1"].mean(), 2),
            "-" if math.isnan(repeats) else f"{repeats:.2f}",
            " / ".join(by_seed),
        ]


def kept_edges(space: SearchSpace, text: str) -> frozenset[int]:
    """Return the edges of a text's cells that are kept, as positions of their choices."""
    values = zip(space.choices, space.parse(text).indices, strict=True)
    return frozenset(edge for edge, (choice, value) in enumerate(values) if choice.write(value) != NOTHING)


def shared_edge_rows(space: SearchSpace, trainings: pd.DataFrame) -> Iterator[list[str]]:
    """Yield for each other topology the edges that FTSO's topology of the same seed keeps too."""
    texts = trainings.drop_duplicates(["topology", "seed", "text"])
    found = {row.seed: kept_edges(space, str(row.text)) for row in texts[texts["topology"] == FOUND].itertuples()}
    for name, rows in texts[texts["topology"] != FOUND].groupby("topology", sort=False):
        shared = [len(kept_edges(space, str(row.text)) & found[row.seed]) for row in rows.itertuples()]
        yield [str(name), " ".join(map(str, shared))]


def expected_shared_edges(space: SearchSpace) -> float:
    """Return how many edges two random topologies share on average."""
    return sum(INPUTS**2 / len(edges) for edges in edges_by_node(space))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_parser("ftso.cell_controls", __doc__)
    add_seeds(parser, [0, 1, 2])
    parser.add_argument("--repeats", type=int, default=3, help="trainings of each network (default: 3)")
    parser.add_argument("--draws", type=int, default=3, help="random topologies of each seed (default: 3)")
    add_run_options(parser, "runs/ftso-controls")
    options = parse_run_options(parser, arguments)
    settings: dict[str, Any] = {key: value for key, value in RECIPE["space"].items() if key != "name"}
    space = load(RECIPE["space"]["name"], **settings)
    with ray_session.connect():
        trainings = pd.concat(
            [train_texts(options, seed, compared_texts(options, space, seed)) for seed in options.seeds]
        )
    print_heading("FTSO's topology beside topologies without a search", ", ".join(map(str, options.seeds)))
    print("Accuracy on the test images in per cent: mean ± standard deviation of the seeds' means; standard deviation")
    print("of repeats of one network on the same images; each training, seeds apart by a slash.\n")
    print_table(("topology", "stand-alone", "repeats", "each training"), accuracy_rows(trainings))
    deviation = repeat_deviation(trainings)
    print(f"Repeats of one network differ by a standard deviation of {deviation:.2f} points, over all networks.\n")
    edges, chance = len(kept_edges(space, topology_text(space, None))), expected_shared_edges(space)
    print(f"Edges, of {edges}, that FTSO's topology of the same seed keeps too; {chance:.1f} in random topologies.\n")
    print_table(("topology", "shared edges"), shared_edge_rows(space, trainings))


if __name__ == "__main__":
    main()
