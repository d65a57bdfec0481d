"""Which cells of NATS-Bench do FTSO and DARTS find, and how accurate are they (FTSO table 2, figures 3g and 3h)?

    python -m benchmarks.ftso.nats [--seeds 20] [--darts-seeds 3] [--epochs 50]

Both search on the reduced supernet of `nats_search`, in this process. FTSO's topology is searched for one step and for
one epoch, with the softmax of beta and with beta itself (`raw beta`), DARTS by the first and the second order for 50
epochs. The true accuracy of a cell is that of the benchmark's table after 200 epochs. The Hessian is that of the
validation loss in the architecture parameters, exact, on 256 images. DARTS's is that of the first order.

Prints the cells of FTSO, DARTS's cells by epoch, the Hessian's largest eigenvalues, and a plot of them. With
`--darts-seeds 0` prints the cells of FTSO alone.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

import search_spaces
from benchmarks.common.report import print_heading, print_table, save_figure
from benchmarks.common.shared_data import NATS_BENCH
from benchmarks.ftso.nats_search import largest_eigenvalue, measured_images, read_options, searches, states
from tuners.ftso.topologies import CellTopologies

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PRINTED = 54.30
"""The true accuracy of the cell of skip connections alone, DARTS's figure in FTSO's table 2."""
SOFTMAX, RAW = "FTSO", "FTSO, raw beta"
SHOWN, HESSIANS = 5, 10
"""Epochs between two rows of the table, and between two Hessians."""


def true_accuracies() -> dict[str, float]:
    """Return the benchmark's accuracies after 200 epochs, in per cent, by the text of the cell."""
    rows = pd.read_csv(NATS_BENCH)
    return dict(zip(rows["arch"], rows["cifar10_test_acc"].astype(float), strict=True))


def ftso_cells(seeds: int, steps: int | None, shuffled: bool = False, raw: bool = False) -> list[dict[str, Any]]:
    """Search by FTSO for one epoch of at most `steps` training steps, with every seed.

    Args:
        shuffled: whether the training images have shuffled labels.
        raw: whether the weights of edges are beta itself, not its softmax.
    """
    space = search_spaces.load("nats-bench")
    topologies, search = CellTopologies(space, ["skip_connect"], None), searches()[RAW if raw else SOFTMAX]
    rows = []
    for seed in range(seeds):
        kept = [
            topologies.select_kept(learner.most_probable(), learner.alpha.detach())
            for _, learner in states(search, seed, 1, steps, shuffled)
        ]
        cell = str(topologies.replace_operators(kept[-1])).partition(": ")[2]
        rows.append({"seed": seed, "cell": cell, "untouched": kept[0] == kept[-1]})
    return rows


def ftso_rows(seeds: int) -> dict[str, list[dict[str, Any]]]:
    """Search by FTSO for a step and an epoch, by both readings of beta. Returns the cells of each search."""
    return {
        f"{length}, raw beta" if raw else length: ftso_cells(seeds, steps, raw=raw)
        for raw in (False, True)
        for length, steps in (("one step", 1), ("one epoch", None))
    }


def darts_epochs(
    name: str, seed: int, epochs: int, true: Mapping[str, float], shuffled: bool = False, hessians: bool = True
) -> list[dict[str, Any]]:
    """Search by DARTS. Returns each epoch's cell, share of skip connections, and eigenvalue (first order only).

    Args:
        shuffled: whether the training images have shuffled labels.
        hessians: whether eigenvalues are computed.
    """
    rows = []
    for epoch, (supernet, learner) in enumerate(states(searches()[name], seed, epochs, shuffled=shuffled)):
        cell = str(learner.most_probable()).partition(": ")[2]
        row = {"search": name, "seed": seed, "epoch": epoch, "cell": cell, "true": true[cell], **learner.notes()}
        if hessians and searches()[name].objective.order == 1 and has_hessian(epoch, epochs):
            row["eigenvalue"] = largest_eigenvalue(supernet, learner, measured_images())
        rows.append(row)
    return rows


def has_hessian(epoch: int, last: int) -> bool:
    """Return whether the Hessian of an epoch is computed."""
    return epoch % HESSIANS == 0 or epoch in (1, last)


def cell_rows(name: str, searches: Sequence[Mapping[str, Any]], true: Mapping[str, float]) -> Iterator[list[str]]:
    """Yield a row for each distinct cell."""
    for cell, same in pd.DataFrame(searches).groupby("cell"):
        untouched = int(same["untouched"].sum())
        yield [name, str(cell), f"{len(same)} of {len(searches)}", f"{true[str(cell)]:.2f}", str(untouched)]


def collapse_rows(epochs: pd.DataFrame, names: Sequence[str]) -> Iterator[list[str]]:
    """Yield the cells of each shown epoch: true accuracies by seed, and the share of skip connections."""
    last = int(epochs["epoch"].max())
    for epoch in sorted({0, 1, *range(SHOWN, last, SHOWN), last}):
        row = [str(epoch)]
        for name in names:
            trials = epochs[(epochs["epoch"] == epoch) & (epochs["search"] == name)]
            row += [" ".join(f"{value:.2f}" for value in trials["true"]), f"{100 * trials['skip_share'].mean():.0f}"]
        yield row


def eigenvalue_rows(epochs: pd.DataFrame) -> Iterator[list[str]]:
    """Yield the eigenvalues of each search, means over the seeds."""
    for name, trials in epochs.dropna(subset="eigenvalue").groupby("search", sort=False):
        mean = trials.groupby("epoch")["eigenvalue"].mean()
        yield [str(name), *(f"{value:.1e}" for value in mean)]


def plot(epochs: pd.DataFrame, names: Sequence[str]) -> Figure:
    """Draw true accuracies, skip connections and largest eigenvalues by epoch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.8), layout="constrained")
    panels = figure.subplots(1, 3)
    for colour, name in enumerate(names):
        trials = epochs[epochs["search"] == name]
        for _, trial in trials.groupby("seed"):
            panels[0].plot(trial["epoch"], trial["true"], color=f"C{colour}", lw=1, alpha=0.7)
        mean = trials.groupby("epoch")["skip_share"].mean()
        panels[1].plot(mean.index, 100 * mean, color=f"C{colour}", label=name)
    colours = {name: f"C{colour}" for colour, name in enumerate((*names, SOFTMAX, RAW))}
    for search, trials in epochs.dropna(subset="eigenvalue").groupby("search", sort=False):
        mean = trials.groupby("epoch")["eigenvalue"].mean()
        panels[2].semilogy(mean.index, mean.clip(lower=1e-10), color=colours[str(search)], label=str(search))
    panels[0].axhline(PRINTED, color="black", ls=":", lw=1)
    panels[0].set(xlabel="epoch", ylabel="true accuracy of the cell (%)")
    panels[1].set(xlabel="epoch", ylabel="skip connections (%)", ylim=(0, 100))
    panels[2].set(xlabel="epoch", ylabel="largest eigenvalue")
    panels[1].legend()
    panels[2].legend()
    return figure


def epoch_table(orders: Sequence[str], seeds: int, epochs: int, true: Mapping[str, float]) -> pd.DataFrame:
    """Search by DARTS and FTSO with every seed. Returns a row for each epoch of DARTS, and for each Hessian of FTSO."""
    rows = [row for name in orders for seed in range(seeds) for row in darts_epochs(name, seed, epochs, true)]
    for name in (SOFTMAX, RAW):
        for seed in range(seeds):
            for epoch, (supernet, learner) in enumerate(states(searches()[name], seed, epochs)):
                if has_hessian(epoch, epochs):
                    value = largest_eigenvalue(supernet, learner, measured_images())
                    rows.append({"search": name, "seed": seed, "epoch": epoch, "eigenvalue": value})
    return pd.DataFrame(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    options = read_options("ftso.nats", __doc__, 3, arguments)
    true, ftso = true_accuracies(), ftso_rows(options.seeds)
    darts = f"0 to {options.darts_seeds - 1}" if options.darts_seeds else "none"
    seeds = f"0 to {options.seeds - 1}; of DARTS {darts}"
    print_heading("FTSO and DARTS on NATS-Bench", seeds)
    means = "; ".join(
        f"{name}: {sum(true[row['cell']] for row in cells) / len(cells):.2f}" for name, cells in ftso.items()
    )
    print(f"The cells of FTSO, and their true accuracy in per cent; means over the seeds:\n{means}.")
    print("`initial topology`: number of seeds whose topology is still that of the initial weights.\n")
    columns = ("search", "cell", "found by", "true accuracy", "initial topology")
    print_table(columns, (row for name, cells in ftso.items() for row in cell_rows(name, cells, true)))
    if options.darts_seeds:
        print_epochs(options, true)


def print_epochs(options: Namespace, true: Mapping[str, float]) -> None:
    """Search by DARTS, and print its cells by epoch, the Hessian's eigenvalues, and the plot."""
    orders = [name for name in searches() if name not in (SOFTMAX, RAW)]
    epochs = epoch_table(orders, options.darts_seeds, options.epochs, true)
    print("DARTS's cell by epoch: true accuracy for each seed. With skip connections alone the accuracy is")
    print(f"{PRINTED:.2f}.\n")
    print_table(("epoch", *(part for name in orders for part in (name, "% skips"))), collapse_rows(epochs, orders))
    print("The Hessian's largest eigenvalue in the architecture parameters, by epoch, mean over the seeds.\n")
    shown = sorted(epochs.dropna(subset="eigenvalue")["epoch"].unique())
    print_table(("search", *map(str, shown)), eigenvalue_rows(epochs))
    title = "By epoch: DARTS's cells, their skip connections, largest eigenvalues"
    save_figure(plot(epochs, orders), "ftso_nats", title)


if __name__ == "__main__":
    main()
