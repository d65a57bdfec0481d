"""FTSO's two searches in cells and in layers: kept edges and layers, replaced operators, and refused settings."""

import pytest
import torch

import search_spaces
from search_spaces import Budget, SearchSpace, UserError
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


def test_two_inputs_allow_three_replaced_cells_on_nats_bench(nats: SearchSpace) -> None:
    """The three cells differ in the input that node 3 drops; they reach 93.05, 93.62 and 92.09 %."""
    topologies = CellTopologies(nats, ["skip_connect"], None)
    cells = set()
    for seed in range(20):
        most_probable = learner_of(topologies, seed).most_probable()
        kept = topologies.select_kept(most_probable, torch.zeros(6, 5))
        assert topologies.prune(kept, most_probable) == most_probable
        assert set(topologies.prune(kept, most_probable).indices) == {0, 1}
        cells.add(str(topologies.replace_operators(kept)))
    conv = "nor_conv_3x3"
    assert cells == {f"nats-bench: |{conv}~0|+|{conv}~0|{conv}~1|+|{node_3}|" for node_3 in NODE_3}


def test_inputs_are_ranked_by_the_weights_of_their_edges_alone(nats: SearchSpace) -> None:
    topologies = CellTopologies(nats, ["skip_connect", "avg_pool_3x3"], None)
    learner = learner_of(topologies)
    assert learner.alpha.requires_grad
    with torch.no_grad():
        learner.beta[3:] = torch.tensor([0.0, 0.1, 0.2])
        learner.alpha[3, 1] = 9
    assert topologies.select_kept(learner.most_probable(), learner.alpha) == {0, 1, 2, 4, 5}


def test_with_one_operator_only_beta_is_learnt_and_none_weighs_nothing(nats: SearchSpace) -> None:
    learner = learner_of(CellTopologies(nats, ["skip_connect"], None))
    assert {name for name, parameter in learner.named_parameters() if parameter.requires_grad} == {"beta"}
    weights = learner.weights()
    assert weights[:, 1].tolist() == pytest.approx(learner.edge_weights().tolist())
    assert weights[:, 0].tolist() == [0] * 6


def test_raw_edges_are_searched_by_beta_itself_and_operators_by_the_softmax(nats: SearchSpace) -> None:
    topologies = Ftso(edge_weights="raw").topologies(nats, nats.costs(), Budget({}))
    learner = learner_of(topologies)
    assert torch.equal(learner.edge_weights(), learner.beta)
    assert torch.equal(learner.weights()[:, 1], learner.beta)
    with torch.no_grad():
        learner.beta[3:] = torch.tensor([0.1, -5, 0.2])
    assert topologies.select_kept(learner.most_probable(), learner.alpha) == {0, 1, 2, 3, 5}
    assert (topologies.learns["edges"], topologies.learns_second["edges"]) == ("raw", "softmax")
    softmax = Ftso().topologies(nats, nats.costs(), Budget({}))
    assert softmax.learns["edges"] == "softmax"


def test_operators_are_searched_on_the_kept_edges(nats: SearchSpace) -> None:
    topologies = CellTopologies(nats, ["skip_connect"], None)
    restricted = topologies.restrict_to_kept(frozenset({0, 1, 2, 4, 5}))
    assert [len(options) for options in restricted.surviving] == [5, 5, 5, 1, 5, 5]
    architecture = Mixture(edges="softmax").begin(restricted, restricted.costs(), 0).most_probable()
    assert [index > 0 for index in architecture.indices] == [True, True, True, False, True, True]


def test_cells_whose_edges_take_subsets_can_be_searched() -> None:
    space = search_spaces.load("darts", cells=3, channels=2, resolution=8)
    topologies = CellTopologies(space, ["skip_connect"], None)
    most_probable = learner_of(topologies).most_probable()
    replaced = topologies.replace_operators(topologies.select_kept(most_probable, torch.zeros(14, 7)))
    words = [choice.write(value) for choice, value in zip(space.choices, replaced.indices, strict=True)]
    assert sorted(words) == ["none"] * 6 + ["sep_conv_3x3"] * 8
    assert len(topologies.restrict_to_kept(frozenset({0, 1})).surviving[5]) == 0


def test_without_a_budget_a_layer_is_kept_if_it_outweighs_its_skip(layers: SearchSpace) -> None:
    topologies = LayerTopologies(layers, layers.costs(), Budget({}), None, search=False)
    assert set(topologies.simplest.surviving) == {(0, 1)}
    alpha = torch.zeros(8, 3)
    alpha[:, 1] = torch.tensor([1.0, -1, 1, -1, 1, -1, 1, 1])
    kept = topologies.select_kept(layers.architecture([0] * 8), alpha)
    assert kept == {0, 2, 4, 6, 7}
    assert topologies.prune(kept, layers.architecture([0] * 8)).indices == (1, 0, 1, 0, 1, 0, 1, 1)
    assert topologies.replace_operators(kept).indices == (2, 0, 2, 0, 2, 0, 2, 2)
    assert [len(options) for options in topologies.restrict_to_kept(kept).surviving] == [2, 1, 2, 1, 2, 1, 2, 2]


def test_the_budget_counts_kept_layers_with_their_final_operators(layers: SearchSpace) -> None:
    costs = layers.costs()
    most = costs.bounds()["macs"][1]
    budget = Budget.model_validate({"macs": {"max": 0.5 * most}})
    alpha = torch.zeros(8, 3)
    alpha[:, 1] = 1 - torch.arange(8) / 10
    kept = {}
    for search in (False, True):
        topologies = LayerTopologies(layers, costs, budget, None, search)
        kept[search] = topologies.select_kept(layers.architecture([0] * 8), alpha)
        counted = topologies.prune(kept[search], layers.architecture([0] * 8))
        assert bool(budget.met(costs.cost([counted if search else topologies.replace_operators(kept[search])])))
    assert len(kept[False]) < len(kept[True])
    restricted = topologies.restrict_to_kept(kept[True])
    architecture = topologies.choose_operators(restricted, layers.architecture([0] * 8), torch.randn(8, 3))
    assert architecture in restricted
    assert bool(budget.met(costs.cost([architecture])))


def test_unknown_operators_and_unreachable_budgets_are_refused(nats: SearchSpace, layers: SearchSpace) -> None:
    with pytest.raises(UserError, match="nats-bench have no operator 'skip_conect'; the nearest is 'skip_connect'"):
        CellTopologies(nats, ["skip_conect"], None)
    with pytest.raises(UserError, match="have no operator 'nor_conv_5x5'; the nearest is 'nor_conv_"):
        CellTopologies(nats, ["skip_connect"], "nor_conv_5x5")
    with pytest.raises(UserError, match="has no 'k3e9'; the nearest is 'k3e3'"):
        LayerTopologies(layers, layers.costs(), Budget({}), "k3e9", search=False)
    with pytest.raises(UserError, match="no layer that can be skipped"):
        LayerTopologies(network := search_spaces.load("resnet20"), network.costs(), Budget({}), None, search=False)
    with pytest.raises(UserError, match=r"leave method\.topology_operators out"):
        Ftso(topology_operators=("k3e3",)).topologies(layers, layers.costs(), Budget({}))
    with pytest.raises(UserError, match=r"method\.edge_weights is 'raw', and nas-bench-macro has layers"):
        Ftso(edge_weights="raw").topologies(layers, layers.costs(), Budget({}))
    least = Budget.model_validate({"macs": {"target": 1000, "tolerance": 0.01}})
    with pytest.raises(UserError, match="macs"):
        LayerTopologies(layers, layers.costs(), least, None, search=False)
