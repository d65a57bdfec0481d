"""The prior on NAS-Bench-Macro's table: the analysis of blocks, the table in the supernet's place, and a search."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import search_spaces
from benchmarks.common.oracles import TableOracle
from benchmarks.hour_nas.prior import BUDGET, deviations, fix_vital, search_within, vital_sets
from benchmarks.hour_nas.table_search import ShuffledOracle, TableSupernet
from tuners.hour_nas.vital_space import fixed_operations

pytestmark = pytest.mark.usefixtures("shared")


@pytest.fixture(scope="module")
def truth() -> TableOracle:
    return TableOracle(search_spaces.load("nas-bench-macro"))


def test_a_deviation_is_that_of_the_networks_that_differ_in_the_block_alone(truth: TableOracle) -> None:
    name, is_vital, full, without_skip = next(deviations(truth))
    triples = [[truth.accuracy[(option, *rest)] for option in range(3)] for rest in np.ndindex(*(3 for _ in range(7)))]
    assert (name, is_vital) == ("stage1.1", True)
    assert full == pytest.approx(np.mean([np.std(triple) for triple in triples]))
    assert without_skip == pytest.approx(np.mean([np.std(triple[1:]) for triple in triples]))


def test_vital_blocks_decide_more_than_others_and_large_ones_are_better_within_the_budget(truth: TableOracle) -> None:
    rows = list(deviations(truth))
    vital, others = ([row[2] for row in rows if row[1] == kind] for kind in (True, False))
    assert np.mean(vital) > 1.5 * np.mean(others)
    architectures = truth.architectures()
    within, top1 = BUDGET.met(truth.costs.cost(architectures)), truth.top1(architectures)
    sets = vital_sets(truth, architectures)
    means = [top1[within & members].mean() for members in sets.values()]
    assert means == pytest.approx([90.78, 92.09, 91.83, 90.54], abs=0.005)
    assert sum(members.sum() for members in sets.values()) == 2 * len(architectures)


def test_the_gate_of_a_path_has_the_gradient_of_its_error_minus_the_mean(truth: TableOracle) -> None:
    supernet = TableSupernet(truth)
    worse, better = (truth.space.architecture(indices) for indices in ([0] * 8, [2] * 8))
    errors = [1 - truth.top1([architecture])[0] / 100 for architecture in (worse, better)]
    images = torch.zeros(1, 3, 1, 1)
    supernet(images, worse)
    gates = torch.ones(8, requires_grad=True)
    loss = supernet(images, better, gates)
    assert loss.item() == pytest.approx(errors[1])
    torch.autograd.backward(loss.sum())
    torch.testing.assert_close(gates.grad, torch.full((8,), errors[1] - errors[0], dtype=torch.float32))


def test_a_mixture_has_the_mean_error_of_the_architectures_that_its_weights_draw(truth: TableOracle) -> None:
    first, second = (truth.space.architecture([option, *[1] * 7]) for option in (0, 2))
    errors = [1 - top1 / 100 for top1 in truth.top1([first, second])]
    weights = torch.tensor([[0.25, 0.0, 0.75], *[[0.0, 1.0, 0.0]] * 7], requires_grad=True)
    mixed = TableSupernet(truth).mixed(torch.zeros(2, 3, 1, 1), weights)
    assert mixed.flatten().tolist() == pytest.approx(2 * [0.25 * errors[0] + 0.75 * errors[1]], abs=1e-6)
    torch.autograd.backward(mixed[0].sum())
    assert weights.grad is not None
    assert weights.grad[0, [0, 2]].tolist() == pytest.approx(errors, abs=1e-6)


def test_shuffled_accuracies_are_those_of_the_table_in_another_order(truth: TableOracle) -> None:
    architectures = truth.architectures()
    shuffled = ShuffledOracle(truth, architectures, seed=0).top1(architectures)
    assert sorted(shuffled) == sorted(truth.top1(architectures))
    assert abs(np.corrcoef(shuffled, truth.top1(architectures))[0, 1]) < 0.05


def test_a_short_search_finds_large_vital_blocks_and_ends_within_the_budget(truth: TableOracle) -> None:
    space = fix_vital(truth, truth.space, updates=100, seed=0)
    assert fixed_operations(space) == {"stage1.1": "k5e6", "stage2.1": "k5e6", "stage3.1": "k5e6"}
    found = search_within(truth, space, proposals=1, updates=10, seed=0)
    assert BUDGET.met(truth.costs.cost([found.architecture])).all()
    assert truth.top1([found.architecture])[0] > 91.5
