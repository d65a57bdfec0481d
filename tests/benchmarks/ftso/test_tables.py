"""FTSO's benchmarks: the settings of the sweep, the searches on NATS-Bench, and their figures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

import search_spaces
from benchmarks.ftso import cell_controls, nats, nats_controls, tables
from benchmarks.ftso.nats_search import (
    largest_eigenvalue,
    measured_images,
    searches,
    shuffled_streams,
    states,
    streams,
)
from raynas.recipe.recipe import Recipe
from raynas.storage.run_folder import RunFolder
from raynas.storage.step_records import write_history
from raynas.study.method import method_of_recipe
from raynas.study.run_plan import plan
from tuners.sweep import Sweep


@pytest.mark.usefixtures("shared")
def test_every_setting_of_table_3_is_a_search() -> None:
    method = {"name": "sweep", "of": {"name": "ftso"}, "settings": tables.settings(), "seeds": [0]}
    sweep = Recipe.read(tables.RECIPE, [f"method={json.dumps(method)}"])
    sweep_method = method_of_recipe(sweep)
    assert isinstance(sweep_method, Sweep)
    for setting in sweep_method.settings:
        trial = sweep_method.recipe_of(setting, sweep, 0)
        method_of_recipe(trial).check(plan(trial))
    assert [setting.name for setting in sweep_method.settings][-3:] == [
        "DARTS, first order",
        "DARTS, second order",
        "PC-DARTS",
    ]


def test_a_step_of_the_topology_costs_a_fraction_of_darts() -> None:
    torch.set_num_threads(1)
    darts, second, ours = map(tables.step_macs, ("DARTS, first order", "DARTS, second order", "FTSO, 1 epoch"))
    assert second == 3 * darts
    assert darts > 8 * ours
    assert tables.step_macs("topology by 4op") > tables.step_macs("topology by sep3") > ours


@pytest.mark.usefixtures("shared")
def test_the_reference_cells_have_their_true_accuracies() -> None:
    """Reference, section 5: the cells of top-2 and 3x3 convolutions, and the cell of skip connections."""
    true = nats.true_accuracies()
    assert len(true) == 15_625
    conv, skip = "nor_conv_3x3", "skip_connect"
    edges = [[conv if source != dropped else "none" for source in range(3)] for dropped in range(3)]
    last = ["|".join(f"{name}~{source}" for source, name in enumerate(names)) for names in edges]
    cells = [f"|{conv}~0|+|{conv}~0|{conv}~1|+|{node}|" for node in last]
    assert [true[cell] for cell in cells] == pytest.approx([92.09, 93.62, 93.05], abs=0.01)
    skips = f"|{skip}~0|+|{skip}~0|{skip}~1|+|{skip}~0|{skip}~1|{skip}~2|"
    assert round(true[skips], 2) == nats.PRINTED


@pytest.mark.usefixtures("shared")
def test_ftso_finds_one_of_three_cells_and_the_initial_weights_decide_after_one_step() -> None:
    torch.set_num_threads(1)
    true = nats.true_accuracies()
    cells = nats.ftso_cells(6, steps=1)
    assert {round(true[row["cell"]], 1) for row in cells} <= {92.1, 93.6, 93.0, 93.1}
    assert any(row["untouched"] for row in cells)
    rows = list(nats.cell_rows("one step", cells, true))
    assert sum(int(row[2].split(" of ")[0]) for row in rows) == 6


@pytest.mark.usefixtures("shared")
def test_darts_has_a_row_for_each_epoch() -> None:
    torch.set_num_threads(1)
    rows = pd.DataFrame(nats.darts_epochs("DARTS, second order", 0, 1, nats.true_accuracies()))
    assert rows["epoch"].tolist() == [0, 1]
    assert rows["skip_share"].between(0, 1).all()
    assert len(list(nats.collapse_rows(rows, ["DARTS, second order"]))) == 2


@pytest.mark.usefixtures("shared")
def test_with_skip_connections_alone_the_loss_does_not_depend_on_beta() -> None:
    """Every node is a mean of copies of the cell's one input for any beta."""
    torch.set_num_threads(1)
    supernet, learner = next(iter(states(searches()["FTSO"], 0, epochs=0)))
    images, labels = measured_images()
    losses = []
    for beta in (torch.zeros(6), torch.tensor([0.0, 3.0, -3.0, 5.0, 0.0, -5.0])):
        with torch.no_grad():
            learner.beta.copy_(beta)
            losses.append(float(functional.cross_entropy(supernet.mixed(images, learner.weights()), labels)))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.usefixtures("shared")
def test_with_raw_beta_the_loss_depends_on_beta() -> None:
    torch.set_num_threads(1)
    supernet, learner = next(iter(states(searches()["FTSO, raw beta"], 0, epochs=0)))
    images, labels = measured_images()
    losses = []
    for beta in (torch.full((6,), 0.1), torch.tensor([0.1, 3.0, -3.0, 5.0, 0.1, -5.0])):
        with torch.no_grad():
            learner.beta.copy_(beta)
            losses.append(float(functional.cross_entropy(supernet.mixed(images, learner.weights()), labels)))
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)


def test_the_hessians_largest_eigenvalue_is_that_of_finite_differences() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    objective = searches()["DARTS, first order"].objective
    space = search_spaces.load("nats-bench", cells=1, channels=4, resolution=8, num_classes=3)
    space = space.restrict({choice.name: ["skip_connect", "nor_conv_1x1"] for choice in space.choices})
    supernet, learner = space.supernet().double(), objective.begin(space, space.costs(), 0).double()
    images, labels = torch.randn(16, 3, 8, 8).double(), torch.arange(16) % 3
    largest = largest_eigenvalue(supernet, learner, (images, labels))

    def gradient() -> torch.Tensor:
        loss = functional.cross_entropy(supernet.mixed(images, learner.weights()), labels)
        return torch.autograd.grad(loss, [learner.alpha])[0].flatten()

    lines = []
    for place in range(learner.alpha.numel()):
        ends = []
        for sign in (1, -2, 1):
            with torch.no_grad():
                learner.alpha.view(-1)[place] += sign * 1e-5
            ends.append(gradient())
        lines.append((ends[0] - ends[1]) / 2e-5)
    assert largest == pytest.approx(float(torch.linalg.eigvalsh(torch.stack(lines))[-1]), rel=1e-4)


def test_rows_of_the_controls() -> None:
    first, second, third = nats_controls.reachable_cells()
    true = {first: 92.0, second: 94.0, third: 93.0}
    cells = {
        "one step, true labels": [first, second],
        "one step, shuffled labels": [first, first],
        "one epoch, true labels": [third, third],
        "one epoch, shuffled labels": [third, second],
        "raw beta, one step, true labels": [first, first],
        "raw beta, one step, shuffled labels": [first, first],
        "raw beta, one epoch, true labels": [first, second],
        "raw beta, one epoch, shuffled labels": [second, first],
    }
    rows = list(nats_controls.ftso_rows(cells, true))
    assert rows[0] == ["one step, true labels", "1 / 1 / 0", "93.00 ± 1.00"]
    assert rows[-2:] == [
        ["a uniform draw", "1/3 each", "93.00 ± 0.82"],
        ["first two inputs always", "the last", "93.00"],
    ]
    assert list(nats_controls.agreements(cells)) == [
        ["one step", "1 of 2", "1.0"],
        ["one epoch", "1 of 2", "1.0"],
        ["raw beta, one step", "2 of 2", "2.0"],
        ["raw beta, one epoch", "0 of 2", "1.0"],
    ]


@pytest.mark.usefixtures("shared")
def test_shuffled_labels_keep_the_images_and_the_number_of_each_label() -> None:
    images, shuffled = streams(), shuffled_streams(0)
    for name, (pixels, labels) in images.items():
        assert shuffled[name][0] is pixels
        assert torch.equal(shuffled[name][1].bincount(), labels.bincount())
        assert (shuffled[name][1] == labels).float().mean() < 0.2


def test_topologies_without_a_search_keep_two_inputs_of_each_node() -> None:
    space = search_spaces.load("darts", operations=8, subset=False, cell_types="two")
    conv = "sep_conv_3x3"
    first = cell_controls.topology_text(space, None)
    assert first.startswith(f"darts: {conv} {conv} | {conv} {conv} none | {conv} {conv} none none | ")
    drawn = cell_controls.topology_text(space, np.random.default_rng(0))
    assert drawn != first
    for text in (first, drawn):
        assert [node.count(conv) for node in text.split("|")] == [2] * 8


def trainings(rows: list[tuple[str, int, str, float]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["topology", "seed", "text", "top1"])


def test_repeats_of_a_network_are_compared_on_the_images_of_one_seed() -> None:
    """Seeds and topologies may differ by any amount: only trainings of one network on one seed are repeats."""
    table = trainings(
        [("FTSO", 0, "a", 39), ("FTSO", 0, "a", 41), ("FTSO", 1, "b", 60), ("FTSO", 1, "b", 64), ("random", 0, "c", 7)]
    )
    assert cell_controls.repeat_deviation(table) == pytest.approx(((1 + 1 + 4 + 4) / 2) ** 0.5)
    assert list(cell_controls.accuracy_rows(table)) == [
        ["FTSO", "51.00 ± 11.00", "2.24", "39.0 41.0 / 60.0 64.0"],
        ["random", "7.00 ± 0.00", "-", "7.0"],
    ]


def test_shared_edges_are_those_of_ftsos_topology_of_the_same_seed() -> None:
    space = search_spaces.load("darts", operations=8, subset=False, cell_types="two")
    first = cell_controls.topology_text(space, None)
    drawn = cell_controls.topology_text(space, np.random.default_rng(0))
    table = trainings([(cell_controls.FOUND, 0, first, 1), ("same", 0, first, 1), ("other", 0, drawn, 1)])
    rows = dict(cell_controls.shared_edge_rows(space, table))
    assert rows["same"] == "16"
    words = [text.replace("|", "").split()[1:] for text in (first, drawn)]
    assert rows["other"] == str(sum(one == other != "none" for one, other in zip(*words, strict=True)))
    assert cell_controls.expected_shared_edges(space) == pytest.approx(2 * 4 * (1 / 2 + 1 / 3 + 1 / 4 + 1 / 5))


def test_seconds_have_a_share_only_beside_darts(tmp_path: Path) -> None:
    table = pd.DataFrame(
        [
            {"setting": name, "folder": name, "standalone_top1": 40.0, "params": 1e3, "macs": 1e6}
            for name in ("FTSO, 1 epoch", tables.BASE)
        ]
    )
    for name, step, seconds in (("FTSO, 1 epoch", "topology", 2.0), (tables.BASE, "supernet", 50.0)):
        write_history(RunFolder(tmp_path / name) / "steps" / f"1-{step}", [{"epoch": 1, "seconds": seconds}])
    assert [row[2] for row in tables.rows(table, tmp_path)] == ["2.0 (1/25.0)", "50.0 (1/1.0)"]
    assert [row[2] for row in tables.rows(table[:1], tmp_path)] == ["2.0"]
