"""What do FTSO's and DARTS's searches on NATS-Bench find without information (controls of FTSO table 2)?

    python -m benchmarks.ftso.nats_controls [--seeds 20] [--darts-seeds 1] [--epochs 50]

The searches are those of `nats`, once on the true labels and once on shuffled labels of the training images, and with
both readings of beta: its softmax, and beta itself (`raw beta`). Two rows need no search: a uniform draw among the
three cells that FTSO can find, and the cell whose nodes keep their first two inputs. The last rows are DARTS of the
first order on true and on shuffled labels, beside a uniform draw among all cells.

Prints for each search how often it finds which cell, and the mean true accuracy of its cells in per cent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from benchmarks.common.report import print_heading, print_table, spread
from benchmarks.ftso.nats import darts_epochs, ftso_cells, true_accuracies
from benchmarks.ftso.nats_search import read_options

_CONV = "nor_conv_3x3"
_LENGTHS = {"one step": 1, "one epoch": None}
_READINGS = {"": False, "raw beta, ": True}
Cells = Mapping[str, Sequence[str]]
"""For each search the cell of each seed."""


def reachable_cells() -> list[str]:
    """Return the three cells that FTSO can find, by the input that node 3 drops: node 0, 1 or 2."""
    last = [[_CONV if source != dropped else "none" for source in range(3)] for dropped in range(3)]
    nodes = ["|".join(f"{name}~{source}" for source, name in enumerate(names)) for names in last]
    return [f"|{_CONV}~0|+|{_CONV}~0|{_CONV}~1|+|{node}|" for node in nodes]


def found_cells(seeds: int) -> dict[str, list[str]]:
    """Search by FTSO for a step and an epoch, by both readings, on true and on shuffled labels, with every seed."""
    return {
        f"{reading}{length}, {labels} labels": [
            row["cell"] for row in ftso_cells(seeds, steps, labels == "shuffled", raw)
        ]
        for reading, raw in _READINGS.items()
        for length, steps in _LENGTHS.items()
        for labels in ("true", "shuffled")
    }


def ftso_rows(cells: Cells, true: Mapping[str, float]) -> Iterator[list[str]]:
    """Yield a row for each search, and the two rows without a search."""
    reachable = reachable_cells()
    for name, found in cells.items():
        counts = Counter(found)
        yield [name, " / ".join(str(counts[cell]) for cell in reachable), spread((true[cell] for cell in found), 2)]
    yield ["a uniform draw", "1/3 each", spread((true[cell] for cell in reachable), 2)]
    yield ["first two inputs always", "the last", f"{true[reachable[2]]:.2f}"]


def agreements(cells: Cells) -> Iterator[list[str]]:
    """Yield for each search how many seeds find one cell with both kinds of labels, and how many chance gives."""
    for search in (f"{reading}{length}" for reading in _READINGS for length in _LENGTHS):
        pairs = list(zip(cells[f"{search}, true labels"], cells[f"{search}, shuffled labels"], strict=True))
        counts = [Counter(found) for found in zip(*pairs, strict=True)]
        chance = sum(counts[0][cell] * counts[1][cell] for cell in counts[0]) / len(pairs)
        yield [search, f"{sum(one == other for one, other in pairs)} of {len(pairs)}", f"{chance:.1f}"]


def darts_rows(seeds: int, epochs: int, true: Mapping[str, float]) -> Iterator[list[str]]:
    """Yield the cells of first-order DARTS after the last epoch, by kind of labels, and a uniform draw."""
    for labels in ("true", "shuffled"):
        is_shuffled = labels == "shuffled"
        last = [
            darts_epochs("DARTS, first order", seed, epochs, true, is_shuffled, hessians=False)[-1]
            for seed in range(seeds)
        ]
        values = " ".join(f"{row['true']:.2f}" for row in last)
        yield [f"{labels} labels", values, f"{100 * np.mean([row['skip_share'] for row in last]):.0f}"]
    yield ["a uniform draw among all cells", spread(true.values(), 2), "20"]


def main(arguments: Sequence[str] | None = None) -> None:
    options = read_options("ftso.nats_controls", __doc__, 1, arguments)
    true = true_accuracies()
    cells = found_cells(options.seeds)
    print_heading("Controls of FTSO and DARTS on NATS-Bench", f"0 to {options.seeds - 1}")
    print("The cells of FTSO by the input that node 3 drops (node 0 / 1 / 2), and their true accuracy in per cent:")
    print("mean ± standard deviation over the seeds.\n")
    print_table(("search", "cells found", "true accuracy"), ftso_rows(cells, true))
    print("Seeds that find one cell with both kinds of labels, and the number if both searches were independent.\n")
    print_table(("search", "one cell", "by chance"), agreements(cells))
    if options.darts_seeds:
        print(f"DARTS of the first order after {options.epochs} epochs, {options.darts_seeds} seeds.\n")
        columns = ("search", "true accuracy", "% skips")
        print_table(columns, darts_rows(options.darts_seeds, options.epochs, true))


if __name__ == "__main__":
    main()
