"""FTSO's two searches, in cells and in layers: what is kept, what takes its place, and what cannot be."""

from typing import Any

import pytest
import torch

import search_spaces
from search_spaces import Budget, SearchSpace, UserError
from tuners.darts.method import check_edges_can_be_removed, check_no_budget, check_space_has_cells
from tuners.darts.weighted_mixture import Mixture, MixtureLearner
from tuners.ftso.method import Ftso
from tuners.ftso.topologies import CellTopologies, LayerTopologies, Topologies

NODE_3 = (
    "nor_conv_3x3~0|nor_conv_3x3~1|none~2",
    "nor_conv_3x3~0|none~1|nor_conv_3x3~2",
    "none~0|nor_conv_3x3~1|nor_conv_3x3~2",
)


@pytest.fixture(scope="module")
def nats() -> SearchSpace:
    return search_spaces.load("nats-bench", cells=1, channels=4, resolution=8)


@pytest.fixture(scope="module")
def layers() -> SearchSpace:
    return search_spaces.load("nas-bench-macro", width=0.125, resolution=16)


def learner_of(topologies: Topologies, seed: int = 0) -> MixtureLearner:
    space = topologies.simplest
    return Mixture.model_validate(dict(topologies.learns)).begin(space, space.costs(), seed)


def test_on_nats_bench_the_replaced_cells_are_the_three_that_two_inputs_allow(nats: SearchSpace) -> None:
    """Reference, section 5: 93.05, 93.62 and 92.09 % by which input node 3 drops."""
    topologies = CellTopologies(nats, ["skip_connect"], None)
    found = set()
    for seed in range(20):
        most_probable = learner_of(topologies, seed).most_probable()
        kept = topologies.kept(most_probable, torch.zeros(6, 5))
        assert topologies.pruned(kept, most_probable) == most_probable
        assert set(topologies.pruned(kept, most_probable).indices) == {0, 1}
        found.add(str(topologies.replaced(kept)))
    conv = "nor_conv_3x3"
    assert found == {f"nats-bench: |{conv}~0|+|{conv}~0|{conv}~1|+|{node_3}|" for node_3 in NODE_3}


def test_a_topology_is_ranked_by_its_edges_alone(nats: SearchSpace) -> None:
    topologies = CellTopologies(nats, ["skip_connect", "avg_pool_3x3"], None)
    learner = learner_of(topologies)
    assert learner.alpha.requires_grad
    with torch.no_grad():
        learner.beta[3:] = torch.tensor([0.0, 0.1, 0.2])
        learner.alpha[3, 1] = 9
    assert topologies.kept(learner.most_probable(), learner.alpha) == {0, 1, 2, 4, 5}


def test_only_beta_is_learnt_with_one_operator_and_none_takes_no_share(nats: SearchSpace) -> None:
    learner = learner_of(CellTopologies(nats, ["skip_connect"], None))
    assert {name for name, parameter in learner.named_parameters() if parameter.requires_grad} == {"beta"}
    weights = learner.weights()
    assert weights[:, 1].tolist() == pytest.approx(learner.edge_weights().tolist())
    assert weights[:, 0].tolist() == [0] * 6


def test_operators_are_searched_on_the_edges_that_are_left(nats: SearchSpace) -> None:
    topologies = CellTopologies(nats, ["skip_connect"], None)
    remaining = topologies.remaining(frozenset({0, 1, 2, 4, 5}))
    assert [len(options) for options in remaining.surviving] == [5, 5, 5, 1, 5, 5]
    found = Mixture(edges="softmax").begin(remaining, remaining.costs(), 0).most_probable()
    assert [index > 0 for index in found.indices] == [True, True, True, False, True, True]


def test_cells_whose_edges_take_subsets_are_searched_as_well() -> None:
    space = search_spaces.load("darts", cells=3, channels=2, resolution=8)
    topologies = CellTopologies(space, ["skip_connect"], None)
    most_probable = learner_of(topologies).most_probable()
    replaced = topologies.replaced(topologies.kept(most_probable, torch.zeros(14, 7)))
    words = [choice.write(value) for choice, value in zip(space.choices, replaced.indices, strict=True)]
    assert sorted(words) == ["none"] * 6 + ["sep_conv_3x3"] * 8
    assert len(topologies.remaining(frozenset({0, 1})).surviving[5]) == 0


def test_without_a_budget_a_layer_is_kept_where_it_outweighs_its_skip(layers: SearchSpace) -> None:
    topologies = LayerTopologies(layers, layers.costs(), Budget({}), None, search=False)
    assert set(topologies.simplest.surviving) == {(0, 1)}
    alpha = torch.zeros(8, 3)
    alpha[:, 1] = torch.tensor([1.0, -1, 1, -1, 1, -1, 1, 1])
    kept = topologies.kept(layers.architecture([0] * 8), alpha)
    assert kept == {0, 2, 4, 6, 7}
    assert topologies.pruned(kept, layers.architecture([0] * 8)).indices == (1, 0, 1, 0, 1, 0, 1, 1)
    assert topologies.replaced(kept).indices == (2, 0, 2, 0, 2, 0, 2, 2)
    assert [len(options) for options in topologies.remaining(kept).surviving] == [2, 1, 2, 1, 2, 1, 2, 2]


def test_the_budget_says_how_many_layers_are_kept_by_what_will_stand_there(layers: SearchSpace) -> None:
    costs = layers.costs()
    most = costs.bounds()["macs"][1]
    budget = Budget.model_validate({"macs": {"max": 0.5 * most}})
    alpha = torch.zeros(8, 3)
    alpha[:, 1] = 1 - torch.arange(8) / 10
    kept = {}
    for search in (False, True):
        topologies = LayerTopologies(layers, costs, budget, None, search)
        kept[search] = topologies.kept(layers.architecture([0] * 8), alpha)
        counted = topologies.pruned(kept[search], layers.architecture([0] * 8))
        assert bool(budget.met(costs.cost([counted if search else topologies.replaced(kept[search])])))
    assert len(kept[False]) < len(kept[True])
    remaining = topologies.remaining(kept[True])
    found = topologies.chosen(remaining, layers.architecture([0] * 8), torch.randn(8, 3))
    assert found in remaining
    assert bool(budget.met(costs.cost([found])))


def test_what_no_topology_can_be(nats: SearchSpace, layers: SearchSpace) -> None:
    with pytest.raises(UserError, match="nats-bench have no operator 'skip_conect'; the nearest is 'skip_connect'"):
        CellTopologies(nats, ["skip_conect"], None)
    with pytest.raises(UserError, match="have no operator 'nor_conv_5x5'; the nearest is 'nor_conv_"):
        CellTopologies(nats, ["skip_connect"], "nor_conv_5x5")
    with pytest.raises(UserError, match="has no 'k3e9'; the nearest is 'k3e3'"):
        LayerTopologies(layers, layers.costs(), Budget({}), "k3e9", search=False)
    with pytest.raises(UserError, match="no layer that can be skipped"):
        LayerTopologies(network := search_spaces.load("resnet20"), network.costs(), Budget({}), None, search=False)
    with pytest.raises(UserError, match=r"leave method\.operators out"):
        Ftso(operators=("k3e3",)).topologies(layers, layers.costs(), Budget({}))
    least = Budget.model_validate({"macs": {"target": 1000, "tolerance": 0.01}})
    with pytest.raises(UserError, match="macs"):
        LayerTopologies(layers, layers.costs(), least, None, search=False)


@pytest.mark.parametrize("settings", [{}, {"operations": 8, "subset": False}, {"subset": False}])
def test_edges_that_no_node_can_leave_out(settings: dict[str, Any]) -> None:
    space = search_spaces.load("darts", cells=3, channels=2, resolution=8, **settings)
    if settings == {"subset": False}:
        with pytest.raises(UserError, match=r"node3\.0 of darts cannot be left out: put none among its operations"):
            check_edges_can_be_removed(space, 2)
        check_edges_can_be_removed(space, None)
    else:
        check_edges_can_be_removed(space, 2)


def test_what_a_search_of_cells_refuses(layers: SearchSpace, nats: SearchSpace) -> None:
    with pytest.raises(UserError, match="nas-bench-macro has no cells with edges for the method darts"):
        check_space_has_cells(layers, "darts")
    check_space_has_cells(nats, "darts")
    with pytest.raises(UserError, match="The method pc-darts honours no budget"):
        check_no_budget(Budget.model_validate({"macs": {"max": 1}}), "pc-darts")
    check_no_budget(Budget({}), "pc-darts")
