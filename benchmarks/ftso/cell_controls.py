"""Is FTSO's topology on DARTS's cells better than one that nobody searched (controls of FTSO table 3)?

    python -m benchmarks.ftso.cell_controls [--seeds 0 1 2] [--set PATH=VALUE] [--out runs/ftso-controls]

The networks and images are those of `tables`. FTSO searches for one epoch, on the true and on shuffled labels of the
training images. Two topologies need no search: every node keeps its first two inputs, or two random inputs. All kept
edges get 3x3 separable convolutions, and all networks are trained stand-alone on the true labels.

A seed decides the images, the search and the training. The row of the first two inputs is one network: its spread over
the seeds is what repeats of one network differ by.

Prints one table: accuracy on the test images in per cent.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

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
from tuners.darts.cells import edges_by_node
from tuners.ftso.topologies import CellTopologies

INPUTS = 2
SEARCH = [f"{path}={value}" for path, value in PARTIAL.items()]


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


def train_text(options: Namespace, name: str, text: str, seed: int) -> float:
    """Train the network of a text stand-alone. Returns its accuracy on the test images in per cent."""
    recipe = Recipe.read({**RECIPE, "method": "fit"}, [*options.changes, f"seed={seed}"])
    with open_study(plan(recipe), RunFolder(options.out / f"{name}-{seed}-network"), Live()) as study:
        return study.fit("network", study.space.parse(text), recipe.fit).top1


def compared_texts(options: Namespace, space: SearchSpace, seed: int) -> dict[str, str]:
    """Return the cells of each row for one seed."""
    return {
        "FTSO, 1 epoch": found_text(options, seed, shuffled=False),
        "FTSO on shuffled labels": found_text(options, seed, shuffled=True),
        "first two inputs": topology_text(space, None),
        "random inputs": topology_text(space, np.random.default_rng(seed)),
    }


def rows(top1: Mapping[str, Sequence[float]]) -> Iterator[list[str]]:
    """Yield a row for each way to a topology."""
    for name, values in top1.items():
        yield [name, spread(values, 2), " ".join(f"{value:.1f}" for value in values)]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_parser("ftso.cell_controls", __doc__)
    add_seeds(parser, [0, 1, 2])
    add_run_options(parser, "runs/ftso-controls")
    options = parse_run_options(parser, arguments)
    settings: dict[str, Any] = {key: value for key, value in RECIPE["space"].items() if key != "name"}
    space = load(RECIPE["space"]["name"], **settings)
    top1: dict[str, list[float]] = {}
    with ray_session.connect():
        for seed in options.seeds:
            for number, (name, text) in enumerate(compared_texts(options, space, seed).items()):
                top1.setdefault(name, []).append(train_text(options, str(number), text, seed))
    print_heading("FTSO's topology beside topologies without a search", ", ".join(map(str, options.seeds)))
    print("Accuracy on the test images in per cent: mean ± standard deviation, and of each seed.\n")
    print_table(("topology", "stand-alone", "of each seed"), rows(top1))


if __name__ == "__main__":
    main()
