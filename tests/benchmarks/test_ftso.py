"""What FTSO's benchmarks ask for, count and print."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import torch
from torch.nn import functional

import search_spaces
from benchmarks import ftso, ftso_nats
from benchmarks.ftso_hessian import largest_eigenvalue, searches
from raynas.method import of_recipe
from raynas.opening import plan
from raynas.recipe import Recipe
from tuners.sweep import Sweep


@pytest.mark.usefixtures("shared")
def test_every_setting_of_table_3_is_a_search() -> None:
    method = {"name": "sweep", "of": {"name": "ftso"}, "settings": ftso.settings(), "seeds": [0]}
    asked = Recipe.read(ftso.RECIPE, [f"method={json.dumps(method)}"])
    swept = of_recipe(asked)
    assert isinstance(swept, Sweep)
    for setting in swept.settings:
        one = swept.recipe_of(setting, asked, 0)
        of_recipe(one).check(plan(one))
    assert [setting.name for setting in swept.settings][-3:] == [
        "DARTS, first order",
        "DARTS, second order",
        "PC-DARTS",
    ]


def test_a_step_of_the_topology_costs_a_fraction_of_darts() -> None:
    torch.set_num_threads(1)
    darts, second, ours = map(ftso.step_macs, ("DARTS, first order", "DARTS, second order", "FTSO, 1 epoch"))
    assert second == 3 * darts
    assert darts > 8 * ours
    assert ftso.step_macs("topology by four") > ftso.step_macs("topology by sep3") > ours


@pytest.mark.usefixtures("shared")
def test_the_reference_cells_have_their_true_accuracies() -> None:
    """Reference, section 5: what top-2 and 3x3 convolutions can output, and the cell of skip connections."""
    true = ftso_nats.truth()
    assert len(true) == 15_625
    conv, skip = "nor_conv_3x3", "skip_connect"
    edges = [[conv if source != dropped else "none" for source in range(3)] for dropped in range(3)]
    last = ["|".join(f"{name}~{source}" for source, name in enumerate(names)) for names in edges]
    cells = [f"|{conv}~0|+|{conv}~0|{conv}~1|+|{node}|" for node in last]
    assert [true[cell] for cell in cells] == pytest.approx([92.09, 93.62, 93.05], abs=0.01)
    skips = f"|{skip}~0|+|{skip}~0|{skip}~1|+|{skip}~0|{skip}~1|{skip}~2|"
    assert round(true[skips], 2) == ftso_nats.PRINTED


def test_cells_are_counted_by_search() -> None:
    found = pd.DataFrame(
        {
            "setting": ["one step"] * 3,
            "architecture": ["nats-bench: a", "nats-bench: b", "nats-bench: a"],
            "untouched": [True, False, False],
        }
    )
    rows = list(ftso_nats.found_rows(found, {"a": 93.05, "b": 92.09}))
    assert rows == [["one step", "a", "2 of 3", "93.05", "1"], ["one step", "b", "1 of 3", "92.09", "0"]]


def test_the_hessians_largest_eigenvalue_is_that_of_finite_differences() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    _, objective = searches()["DARTS's alpha"]
    space = search_spaces.load("nats-bench", cells=1, channels=4, resolution=8, num_classes=3)
    space = space.restrict({choice.name: ["skip_connect", "nor_conv_1x1"] for choice in space.choices})
    supernet, learner = space.supernet().double(), objective.begin(space, space.costs(), 0).double()
    images, labels = torch.randn(16, 3, 8, 8).double(), torch.arange(16) % 3
    largest = largest_eigenvalue(supernet, learner, (images, labels))

    def slope() -> torch.Tensor:
        loss = functional.cross_entropy(supernet.mixed(images, learner.weights()), labels)
        return torch.autograd.grad(loss, [learner.alpha])[0].flatten()

    lines = []
    for place in range(learner.alpha.numel()):
        ends = []
        for sign in (1, -2, 1):
            with torch.no_grad():
                learner.alpha.view(-1)[place] += sign * 1e-5
            ends.append(slope())
        lines.append((ends[0] - ends[1]) / 2e-5)
    assert largest == pytest.approx(float(torch.linalg.eigvalsh(torch.stack(lines))[-1]), rel=1e-4)
