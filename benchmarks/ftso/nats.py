"""FTSO and DARTS on NATS-Bench (FTSO table 2, figures 3g and 3h): the cells found, and what they are worth.

    python -m benchmarks.ftso.nats [--seeds 20] [--darts-seeds 3] [--epochs 50]

On the reduced supernet of `nats_search`, in this process. FTSO's topology is searched for one step and for one epoch;
DARTS by the first and the second order for 50 epochs. What a cell is worth is its accuracy in the benchmark's own table
after 200 epochs. The Hessian is that of the validation loss in the architecture parameters, exact, on 256 images, and
of first-order DARTS.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

import search_spaces
from benchmarks.common.report import heading, picture, table
from benchmarks.ftso.nats_search import largest_eigenvalue, measured, searches, states
from tuners.ftso.topologies import CellTopologies

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRUTH = Path(__file__).parents[3] / "shared" / "data" / "nasbench201_cifar10.csv"
PRINTED = 54.30
"""The true accuracy of the cell of skip connections alone, which FTSO's table 2 has for DARTS."""
SHOWN, HESSIANS = 5, 10
"""How many epochs lie between two rows of the table, and between two Hessians."""


def truth() -> dict[str, float]:
    """The benchmark's accuracies after 200 epochs, in per cent, by the text of the cell."""
    rows = pd.read_csv(TRUTH)
    return dict(zip(rows["arch"], rows["cifar10_test_acc"].astype(float), strict=True))


def ftso_cells(seeds: int, steps: int | None) -> list[dict[str, Any]]:
    """What FTSO finds in one epoch of at most so many steps, with every seed."""
    space = search_spaces.load("nats-bench")
    topologies, search = CellTopologies(space, ["skip_connect"], None), searches()["FTSO"]
    found = []
    for seed in range(seeds):
        kept = [
            topologies.select_kept(learner.most_probable(), learner.alpha.detach())
            for _, learner in states(search, seed, 1, steps)
        ]
        cell = str(topologies.replace_operators(kept[-1])).partition(": ")[2]
        found.append({"seed": seed, "cell": cell, "untouched": kept[0] == kept[-1]})
    return found


def followed(name: str, seed: int, epochs: int, true: Mapping[str, float]) -> list[dict[str, Any]]:
    """DARTS epoch by epoch: its cell and share of skip connections; of the first order the eigenvalue, too."""
    rows = []
    for epoch, (supernet, learner) in enumerate(states(searches()[name], seed, epochs)):
        cell = str(learner.most_probable()).partition(": ")[2]
        row = {"search": name, "seed": seed, "epoch": epoch, "cell": cell, "true": true[cell], **learner.notes()}
        if searches()[name].objective.order == 1 and has_hessian(epoch, epochs):
            row["eigenvalue"] = largest_eigenvalue(supernet, learner, measured())
        rows.append(row)
    return rows


def has_hessian(epoch: int, last: int) -> bool:
    return epoch % HESSIANS == 0 or epoch in (1, last)


def cell_rows(name: str, found: Sequence[Mapping[str, Any]], true: Mapping[str, float]) -> Iterator[list[str]]:
    for cell, same in pd.DataFrame(found).groupby("cell"):
        untouched = int(same["untouched"].sum())
        yield [name, str(cell), f"{len(same)} of {len(found)}", f"{true[str(cell)]:.2f}", str(untouched)]


def collapse_rows(epochs: pd.DataFrame, names: Sequence[str]) -> Iterator[list[str]]:
    last = int(epochs["epoch"].max())
    for epoch in sorted({0, 1, *range(SHOWN, last, SHOWN), last}):
        row = [str(epoch)]
        for name in names:
            trials = epochs[(epochs["epoch"] == epoch) & (epochs["search"] == name)]
            row += [" ".join(f"{value:.2f}" for value in trials["true"]), f"{100 * trials['skip_share'].mean():.0f}"]
        yield row


def eigenvalue_rows(epochs: pd.DataFrame) -> Iterator[list[str]]:
    for name, trials in epochs.dropna(subset="eigenvalue").groupby("search", sort=False):
        mean = trials.groupby("epoch")["eigenvalue"].mean()
        yield [str(name), *(f"{value:.1e}" for value in mean)]


def plot(epochs: pd.DataFrame, names: Sequence[str]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.8), layout="constrained")
    panels = figure.subplots(1, 3)
    for colour, name in enumerate(names):
        trials = epochs[epochs["search"] == name]
        for _, trial in trials.groupby("seed"):
            panels[0].plot(trial["epoch"], trial["true"], color=f"C{colour}", lw=1, alpha=0.7)
        mean = trials.groupby("epoch")["skip_share"].mean()
        panels[1].plot(mean.index, 100 * mean, color=f"C{colour}", label=name)
    for search, trials in epochs.dropna(subset="eigenvalue").groupby("search", sort=False):
        mean = trials.groupby("epoch")["eigenvalue"].mean()
        shade = f"C{names.index(str(search)) if search in names else len(names)}"
        panels[2].semilogy(mean.index, mean.clip(lower=1e-10), color=shade, label=str(search))
    panels[0].axhline(PRINTED, color="black", ls=":", lw=1)
    panels[0].set(xlabel="epoch", ylabel="true accuracy of the cell (%)")
    panels[1].set(xlabel="epoch", ylabel="skip connections (%)", ylim=(0, 100))
    panels[2].set(xlabel="epoch", ylabel="largest eigenvalue")
    panels[1].legend()
    panels[2].legend()
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ftso.nats", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="of FTSO")
    parser.add_argument("--darts-seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=50, help="of DARTS")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    true = truth()
    ours = {"one step": ftso_cells(given.seeds, 1), "one epoch": ftso_cells(given.seeds, None)}
    orders = [name for name in searches() if name != "FTSO"]
    rows = [
        row for name in orders for seed in range(given.darts_seeds) for row in followed(name, seed, given.epochs, true)
    ]
    search = searches()["FTSO"]
    for seed in range(given.darts_seeds):
        for epoch, (supernet, learner) in enumerate(states(search, seed, given.epochs)):
            if has_hessian(epoch, given.epochs):
                value = largest_eigenvalue(supernet, learner, measured())
                rows.append({"search": "FTSO", "seed": seed, "epoch": epoch, "eigenvalue": value})
    epochs = pd.DataFrame(rows)
    heading("FTSO and DARTS on NATS-Bench", f"0 to {given.seeds - 1}; of DARTS 0 to {given.darts_seeds - 1}")
    means = ", ".join(
        f"{name} {sum(true[one['cell']] for one in found) / len(found):.2f}" for name, found in ours.items()
    )
    print(f"The cells that FTSO finds, and their true accuracy in per cent; means over the seeds: {means}.\n")
    columns = ("search", "cell", "found by", "true accuracy", "of them the initial weights' topology")
    table(columns, (row for name, found in ours.items() for row in cell_rows(name, found, true)))
    print(f"DARTS's cell as the epochs grow: true accuracy by seed. Of skip connections alone it is {PRINTED:.2f}.\n")
    table(("epoch", *(part for name in orders for part in (name, "% skips"))), collapse_rows(epochs, orders))
    print("The Hessian's largest eigenvalue in the architecture parameters, by epoch, mean over the seeds.\n")
    shown = sorted(epochs.dropna(subset="eigenvalue")["epoch"].unique())
    table(("search", *map(str, shown)), eigenvalue_rows(epochs))
    picture(plot(epochs, orders), "ftso_nats", "By epoch: DARTS's cells, their skip connections, largest eigenvalues")


if __name__ == "__main__":
    main()
